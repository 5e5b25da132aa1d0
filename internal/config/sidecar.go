package config

import (
	"encoding/hex"
	"path/filepath"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
)

// Sidecar is the file that `sidehook sidecar --config F` reads. Relative paths in it count from the folder it is in;
// those in the loaded struct are absolute.
type Sidecar struct {
	// Kind is "sidecar".
	Kind string `yaml:"kind"`
	// ID names this sidecar in the fleet: 1-64 of [A-Za-z0-9_-]. Default: a random one, kept in DataDir.
	ID string `yaml:"id"`
	// DataDir holds the queue, the last-known-good configuration and the id. Default /var/lib/sidehook.
	DataDir string `yaml:"data_dir"`
	// Apps whose events are taken before the first configuration arrives. An event that names no app belongs to the
	// only one of the list; with none or several such an event is refused. Default none.
	Apps []string `yaml:"apps"`
	// Durability is "disk" (default): an acknowledged event has been synced to disk; or "process": it is in the
	// kernel, which survives the death of the process but not a power failure.
	Durability string `yaml:"durability"`
	// ControlPlane that configuration comes from; nil when ConfigFile is set. One of the two is required.
	ControlPlane *ControlPlane `yaml:"control_plane"`
	// ConfigFile with webhooks to use instead of a control plane; read again when it changes.
	ConfigFile string `yaml:"config_file"`
	// Listen has the addresses of the local endpoints.
	Listen SidecarListen `yaml:"listen"`
	// Outbound bounds deliveries.
	Outbound Outbound `yaml:"outbound"`
	// Transformers that webhooks may name. Default none.
	Transformers []Transformer `yaml:"transformers"`
	// Limits of what is taken and kept.
	Limits SidecarLimits `yaml:"limits"`
	// ShutdownTimeout bounds the time from the signal to the end of the process: 1s to 10m. Default 15s.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`
	// Log says what is logged and how.
	Log Log `yaml:"log"`

	// Warnings are the problems of the file that do not keep it from being used.
	Warnings []Problem `yaml:"-"`
}

// ControlPlane says where configuration comes from.
type ControlPlane struct {
	// Address of the control plane's xDS listener. Default 127.0.0.1:4470.
	Address string `yaml:"address"`
	// TokenFile holds the sidecar's token, alone on its first line. Either TokenFile or Token is required: it is the
	// token that says which apps the sidecar gets, with a client certificate or without.
	TokenFile string `yaml:"token_file"`
	// Token itself; TokenFile keeps it out of this file.
	Token Secret `yaml:"token"`
	// TLS to use; nil for a plain connection.
	TLS *ClientTLS `yaml:"tls"`
}

// ClientTLS says how to check a server and how to prove who we are.
type ClientTLS struct {
	// CAFile has the PEM certificates to trust. Default: those of the system.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are our certificate (PEM), for mutual TLS. Default none; set both or neither.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ServerName that the server's certificate must have. Default: the host of the address.
	ServerName string `yaml:"server_name"`
}

// SidecarListen has the addresses of a sidecar's listeners; "off" turns one off. Port 0 picks a free port.
type SidecarListen struct {
	// GRPC takes events. Default 127.0.0.1:4460.
	GRPC string `yaml:"grpc"`
	// Unix is the path of a socket (mode 0660) that takes events by gRPC. Default DATA_DIR/sidehook.sock.
	Unix string `yaml:"unix"`
	// HTTP takes CloudEvents. Default 127.0.0.1:4461.
	HTTP string `yaml:"http"`
	// Admin answers /live, /ready, /metrics and the like. Default 127.0.0.1:4462.
	Admin string `yaml:"admin"`
}

// Off reports whether a listener's address says that it is not wanted.
func Off(address string) bool { return address == off }

// Transformer is a plugin process that webhooks may name.
type Transformer struct {
	// Name that webhooks use: 1-64 of [A-Za-z0-9_-]. Required.
	Name string `yaml:"name"`
	// Command is the path of the program. Required. PATH is not searched.
	Command string `yaml:"command"`
	// Args are passed to it. Default none.
	Args []string `yaml:"args"`
	// Env is its whole environment: nothing is inherited. Default none.
	Env map[string]string `yaml:"env"`
	// SHA256 of the program in hex; a program that does not match is not started. Default: not checked.
	SHA256 string `yaml:"sha256"`
	// Timeout of one call: 10ms to 60s. Default 2s.
	Timeout time.Duration `yaml:"timeout"`
}

// SidecarLimits bound what a sidecar takes and keeps.
type SidecarLimits struct {
	// Payload bounds the data of one event: 1KiB to 704KiB. Default 256KiB.
	Payload Size `yaml:"payload"`
	// Queue bounds the events of unfinished deliveries on disk; beyond it publishers are told to wait. 1MiB to 16TiB.
	// Default 10GiB.
	Queue Size `yaml:"queue"`
	// History bounds the finished deliveries that are kept to look at: 1MiB to 1TiB. Default 32MiB.
	History Size `yaml:"history"`
	// HistoryAge bounds how long they are kept: 1m to 8760h. Default 72h.
	HistoryAge time.Duration `yaml:"history_age"`
	// MinFreeDisk is how much room the disk must have for events to be taken. 0B to 16TiB; 0B: not checked. Default
	// 64MiB.
	MinFreeDisk Size `yaml:"min_free_disk"`
	// DedupeWindow is how long the id of an event is remembered so that a repeat is not delivered again: 0s to 168h;
	// 0s: not at all. Default 1h.
	DedupeWindow time.Duration `yaml:"dedupe_window"`
	// DedupeEvents bounds how many ids are remembered: 1 to 100000000. Default 1000000, about 24 MB of memory.
	DedupeEvents int `yaml:"dedupe_events"`
}

// KindSidecar, KindControl and KindWebhooks are the kinds of file that Check tells apart.
const (
	KindSidecar  = "sidecar"
	KindControl  = "control"
	KindWebhooks = "webhooks"
)

// DefaultTransformTimeout bounds one call of a transformer unless told otherwise.
const DefaultTransformTimeout = 2 * time.Second

// The values of Sidecar.Durability.
const (
	DurabilityDisk    = "disk"
	DurabilityProcess = "process"
)

const (
	defaultSidecarDir        = "/var/lib/sidehook"
	defaultShutdownTimeout   = 15 * time.Second
	defaultControlAddress    = "127.0.0.1:4470"
	maxSidecarApps           = 1000
	maxTransformers          = 64
	maxPayload               = 704 * KiB // with its attributes an event still fits a batch of storage.MaxBatchBytes
	year                     = 365 * 24 * time.Hour
	minShutdown, maxShutdown = time.Second, 10 * time.Minute
)

// DefaultSidecar returns the settings of a file that says nothing but its kind.
func DefaultSidecar() *Sidecar {
	p := DefaultPorts()
	return &Sidecar{
		Kind:       KindSidecar,
		DataDir:    defaultSidecarDir,
		Durability: DurabilityDisk,
		Listen:     SidecarListen{GRPC: p.GRPC, HTTP: p.HTTP, Admin: p.Admin},
		Outbound:   Outbound{MaxInFlight: 1024, PerWebhook: 64, HTTP2: true},
		Limits: SidecarLimits{
			Payload: sidehook.DefaultMaxData, Queue: 10 * GiB, History: 32 * MiB, HistoryAge: 72 * time.Hour,
			MinFreeDisk: 64 * MiB, DedupeWindow: time.Hour, DedupeEvents: 1_000_000,
		},
		ShutdownTimeout: defaultShutdownTimeout,
		Log:             DefaultLog(),
	}
}

// LoadSidecar reads the file and fills the defaults. Its error is an *Error when the file can be read but not be used.
func LoadSidecar(path string) (*Sidecar, error) {
	d, err := readDocument(path)
	if err != nil {
		return nil, err
	}
	return d.sidecar()
}

func (d *document) sidecar() (*Sidecar, error) {
	s := DefaultSidecar()
	if d.kind(KindSidecar) {
		d.decode(s)
		d.checkSidecar(s)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	s.Warnings = d.problems
	return s, nil
}

func (d *document) checkSidecar(s *Sidecar) {
	if s.ID != "" {
		d.name("id", s.ID)
	}
	d.dataDir(&s.DataDir)
	d.sidecarApps(s.Apps)
	d.oneOf("durability", s.Durability, DurabilityDisk, DurabilityProcess)
	d.source(s)
	d.sidecarListen(s)
	d.outbound(&s.Outbound)
	d.transformers(s.Transformers)
	d.sidecarLimits(s.Limits)
	d.durationRange("shutdown_timeout", s.ShutdownTimeout, minShutdown, maxShutdown)
	d.log(s.Log)
}

func (d *document) dataDir(dir *string) {
	if *dir == "" {
		d.failAt("data_dir", "must be a folder; remove the key for the default")
		return
	}
	d.resolve(dir)
}

func (d *document) sidecarApps(apps []string) {
	if len(apps) > maxSidecarApps {
		d.failAt("apps", "must be at most %d", maxSidecarApps)
		return
	}
	seen := make(map[string]bool, len(apps))
	for i, app := range apps {
		d.name(indexed("apps", i), app)
		if seen[app] && app != "" {
			d.failAt(indexed("apps", i), "%.64q is given twice; remove one", app)
		}
		seen[app] = true
	}
}

// source checks that configuration comes from exactly one place.
func (d *document) source(s *Sidecar) {
	switch {
	case d.troubled("control_plane") || d.troubled("config_file"):
	case s.ControlPlane != nil && s.ConfigFile != "":
		d.failAt("config_file", "cannot stand beside control_plane; remove one of the two")
	case s.ControlPlane == nil && s.ConfigFile == "":
		d.failAt("", "says nothing of where webhooks come from; add control_plane, or config_file for a file of them")
	}
	d.readable("config_file", &s.ConfigFile)
	if s.ControlPlane != nil {
		d.controlPlane(s.ControlPlane)
	}
}

func (d *document) controlPlane(c *ControlPlane) {
	if c.Address == "" && !d.troubled("control_plane.address") {
		c.Address = defaultControlAddress
	}
	valid := d.address("control_plane.address", c.Address)
	if valid && strings.HasSuffix(c.Address, ":0") {
		d.failAt("control_plane.address", "needs the port of the control plane's xDS listener, such as 4470")
	}
	tokenGiven := d.given("control_plane.token") || d.given("control_plane.token_file")
	switch {
	case d.troubled("control_plane.token") || d.troubled("control_plane.token_file"):
	case c.TokenFile != "" && !c.Token.IsZero():
		d.failAt("control_plane.token", "cannot stand beside token_file; remove one of the two")
	case c.TokenFile == "" && c.Token.IsZero() && tokenGiven:
		d.failAt("control_plane", "has an empty token; write it, or name the file that holds it in token_file")
	case c.TokenFile == "" && c.Token.IsZero():
		d.failAt("control_plane", "has no credential; add token_file; sidehook token create makes the token. A client certificate does not stand in for it")
	case c.TLS == nil && valid && !isLoopback(c.Address):
		d.warnAt("control_plane.address", "is another host and there is no tls: the token and the secrets travel in the clear")
	}
	if strings.ContainsAny(c.Token.Reveal(), "\r\n") {
		d.failAt("control_plane.token", "must be one line")
	}
	d.readable("control_plane.token_file", &c.TokenFile)
	if t := c.TLS; t != nil {
		d.certificate("control_plane.tls", &t.CertFile, &t.KeyFile)
		d.readable("control_plane.tls.ca_file", &t.CAFile)
	}
}

// certificate checks a pair of files that only make sense together.
func (d *document) certificate(path string, cert, key *string) {
	switch {
	case *cert != "" && *key == "":
		d.failAt(path+".cert_file", "needs key_file beside it")
	case *cert == "" && *key != "":
		d.failAt(path+".key_file", "needs cert_file beside it")
	}
	d.readable(path+".cert_file", cert)
	d.readable(path+".key_file", key)
}

func (d *document) sidecarListen(s *Sidecar) {
	l := &s.Listen
	addresses := map[string]string{"listen.grpc": l.GRPC, "listen.http": l.HTTP, "listen.admin": l.Admin}
	paths := []string{"listen.grpc", "listen.http", "listen.admin"}
	for _, path := range paths {
		if a := addresses[path]; a != off && d.address(path, a) && !isLoopback(a) {
			d.warnAt(path, "%s can be reached from other hosts, and nobody is asked who they are; use 127.0.0.1", a)
		}
	}
	d.distinct(paths, func(path string) string { return addresses[path] })
	switch l.Unix {
	case off:
		if l.GRPC == off && l.HTTP == off {
			d.failAt("listen", "has every way to publish turned off; turn on grpc, unix or http")
		}
	case "":
		l.Unix = filepath.Join(s.DataDir, "sidehook.sock")
	default:
		d.resolve(&l.Unix)
	}
	// The address of a unix socket holds 108 bytes, the closing zero included (unix(7)).
	const longest = 107
	if l.Unix != off && len(l.Unix) > longest {
		d.failAt("listen.unix", `is over %d bytes, the longest a socket's path can be; choose a shorter one, or "off"`, longest)
	}
}

func (d *document) transformers(ts []Transformer) {
	if len(ts) > maxTransformers {
		d.failAt("transformers", "must be at most %d", maxTransformers)
		return
	}
	seen := make(map[string]bool, len(ts))
	for i := range ts {
		t, path := &ts[i], indexed("transformers", i)
		if d.troubled(path) {
			continue
		}
		d.transformer(t, path)
		if seen[t.Name] && t.Name != "" {
			d.failAt(path+".name", "%.64q is given twice; names are unique", t.Name)
		}
		seen[t.Name] = true
	}
}

func (d *document) transformer(t *Transformer, path string) {
	if !d.given(path + ".timeout") {
		t.Timeout = DefaultTransformTimeout
	}
	d.durationRange(path+".timeout", t.Timeout, 10*time.Millisecond, time.Minute)
	if t.Name == "" && !d.troubled(path+".name") {
		d.failAt(path+".name", "is required")
	} else {
		d.name(path+".name", t.Name)
	}
	switch {
	case d.troubled(path + ".command"):
	case t.Command == "":
		d.failAt(path+".command", "is required: the path of the program")
	case !strings.ContainsRune(t.Command, filepath.Separator):
		d.failAt(path+".command", "must be a path such as ./%.60s; PATH is not searched", t.Command)
	default:
		d.readable(path+".command", &t.Command)
	}
	for name, value := range t.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			d.failAt(path+".env", "%.60q is not a variable that a process can have", name)
		} else if strings.HasPrefix(name, "PLUGIN_") {
			d.failAt(path+".env", "%.60s is one of those that the sidecar sets itself; choose a name without PLUGIN_", name)
		}
	}
	if sum, err := hex.DecodeString(t.SHA256); t.SHA256 != "" && (err != nil || len(sum) != 32) {
		d.failAt(path+".sha256", "must be 64 hexadecimal digits, as sha256sum prints them")
	}
	t.SHA256 = strings.ToLower(t.SHA256)
}

func (d *document) sidecarLimits(l SidecarLimits) {
	d.sizeRange("limits.payload", l.Payload, KiB, maxPayload)
	d.sizeRange("limits.queue", l.Queue, MiB, 16*TiB)
	d.sizeRange("limits.history", l.History, MiB, TiB)
	d.durationRange("limits.history_age", l.HistoryAge, time.Minute, year)
	d.sizeRange("limits.min_free_disk", l.MinFreeDisk, 0, 16*TiB)
	d.durationRange("limits.dedupe_window", l.DedupeWindow, 0, 7*24*time.Hour)
	d.intRange("limits.dedupe_events", l.DedupeEvents, 1, 100_000_000)
}
