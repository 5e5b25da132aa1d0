package config

import (
	"path/filepath"
	"time"

	"github.com/sidehook/sidehook"
)

// Control is the file that `sidehook control --config F` reads. Relative paths in it count from the folder it is in;
// those in the loaded struct are absolute.
type Control struct {
	// Kind is "control".
	Kind string `yaml:"kind"`
	// DataDir holds apps, webhooks, secrets and tokens. Default /var/lib/sidehook-control.
	DataDir string `yaml:"data_dir"`
	// Listen has the addresses.
	Listen ControlListen `yaml:"listen"`
	// XDSTLS is the certificate of the xDS listener; nil for a plain one.
	XDSTLS *ServerTLS `yaml:"xds_tls"`
	// Limits of what can be created.
	Limits ControlLimits `yaml:"limits"`
	// AutoDisableAfter is for how long a webhook may do nothing but fail before it is disabled: 1s to 8760h, or 0s for
	// ever; below an hour with a warning. Default 120h.
	AutoDisableAfter time.Duration `yaml:"auto_disable_after"`
	// AdminTokenFile is written at the first start with the first admin token (mode 0600). Default
	// DATA_DIR/admin.token.
	AdminTokenFile string `yaml:"admin_token_file"`
	// Dialects are the APIs of other systems that the REST listener answers, too, by name; see Dialects. Default none.
	Dialects []string `yaml:"dialects"`
	// APIServer has the settings of the dialect apiserver.
	APIServer APIServerDialect `yaml:"apiserver"`
	// OMICall has the settings of the dialect omicall.
	OMICall OMICallDialect `yaml:"omicall"`
	// ShutdownTimeout bounds the time from the signal to the end of the process: 1s to 10m. Default 15s.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`
	// Log says what is logged and how.
	Log Log `yaml:"log"`

	// Warnings are the problems of the file that do not keep it from being used.
	Warnings []Problem `yaml:"-"`
}

// ControlListen has the addresses of a control plane's listeners. Port 0 picks a free port.
type ControlListen struct {
	// XDS is where sidecars get their configuration and report (gRPC). Default 127.0.0.1:4470.
	XDS string `yaml:"xds"`
	// REST is the management API and the console. Default 127.0.0.1:4471.
	REST string `yaml:"rest"`
}

// ServerTLS is a server's certificate.
type ServerTLS struct {
	// CertFile and KeyFile are the certificate and its key (PEM). Both are required.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ClientCAFile has the PEM certificates that clients must be signed by. Default: clients need no certificate.
	ClientCAFile string `yaml:"client_ca_file"`
}

// ControlLimits bound what can be created.
type ControlLimits struct {
	// WebhooksPerApp is how many webhooks an app can have: 1 to 100000. Default 10.
	WebhooksPerApp int `yaml:"webhooks_per_app"`
}

const defaultControlDir = "/var/lib/sidehook-control"

// Bounds of auto_disable_after.
const (
	defaultAutoDisable = 120 * time.Hour
	minAutoDisable     = time.Second
	hastyAutoDisable   = time.Hour // anything less is for trying it out
	maxAutoDisable     = 8760 * time.Hour
)

// DefaultControl returns the settings of a file that says nothing but its kind.
func DefaultControl() *Control {
	p := DefaultPorts()
	return &Control{
		Kind:             KindControl,
		DataDir:          defaultControlDir,
		Listen:           ControlListen{XDS: p.XDS, REST: p.REST},
		Limits:           ControlLimits{WebhooksPerApp: sidehook.DefaultMaxWebhooks},
		AutoDisableAfter: defaultAutoDisable,
		Dialects:         []string{},
		OMICall:          OMICallDialect{InstanceID: defaultInstanceID},
		ShutdownTimeout:  defaultShutdownTimeout,
		Log:              DefaultLog(),
	}
}

// LoadControl reads the file and fills the defaults. Its error is an *Error when the file can be read but not be used.
func LoadControl(path string) (*Control, error) {
	d, err := readDocument(path)
	if err != nil {
		return nil, err
	}
	return d.control()
}

func (d *document) control() (*Control, error) {
	c := DefaultControl()
	if d.kind(KindControl) {
		d.decode(c)
		d.checkControl(c)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	c.Warnings = d.problems
	return c, nil
}

func (d *document) checkControl(c *Control) {
	d.dataDir(&c.DataDir)
	d.controlListen(c)
	if t := c.XDSTLS; t != nil {
		if t.CertFile == "" && t.KeyFile == "" {
			d.failAt("xds_tls", "needs cert_file and key_file; remove it for a plain listener")
		}
		d.certificate("xds_tls", &t.CertFile, &t.KeyFile)
		d.readable("xds_tls.client_ca_file", &t.ClientCAFile)
	}
	d.intRange("limits.webhooks_per_app", c.Limits.WebhooksPerApp, 1, 100_000)
	if c.AdminTokenFile == "" {
		c.AdminTokenFile = filepath.Join(c.DataDir, "admin.token")
	}
	d.resolve(&c.AdminTokenFile)
	d.dialects(c)
	if c.AutoDisableAfter != 0 {
		d.durationRange("auto_disable_after", c.AutoDisableAfter, minAutoDisable, maxAutoDisable)
	}
	if c.AutoDisableAfter >= minAutoDisable && c.AutoDisableAfter < hastyAutoDisable {
		d.warnAt("auto_disable_after", "a receiver that is restarted can be away for %s: its webhooks would be disabled", c.AutoDisableAfter)
	}
	d.durationRange("shutdown_timeout", c.ShutdownTimeout, minShutdown, maxShutdown)
	d.log(c.Log)
}

func (d *document) controlListen(c *Control) {
	if d.address("listen.xds", c.Listen.XDS) && !isLoopback(c.Listen.XDS) && c.XDSTLS == nil {
		d.warnAt("listen.xds", "%s can be reached from other hosts and there is no xds_tls: tokens and secrets travel in the clear",
			c.Listen.XDS)
	}
	if d.address("listen.rest", c.Listen.REST) && !isLoopback(c.Listen.REST) {
		d.warnAt("listen.rest", "%s can be reached from other hosts without TLS; use 127.0.0.1 behind a proxy that has it",
			c.Listen.REST)
	}
	d.distinct([]string{"listen.xds", "listen.rest"}, func(path string) string {
		if path == "listen.xds" {
			return c.Listen.XDS
		}
		return c.Listen.REST
	})
}
