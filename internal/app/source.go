package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/sidehook/sidehook/internal/config"
	"github.com/sidehook/sidehook/xds/client"
)

// source is where a sidecar's configuration comes from.
type source interface {
	// status is as cheap with much configuration as with little: every probe and every scrape asks for it.
	status() sourceStatus
	// rejections are the resources that were refused and not replaced since.
	rejections() []rejection
	// resources describes all of them, where the source knows more of them than what is live.
	resources() []any
}

// sourceStatus is how a source is.
type sourceStatus struct {
	Kind      string `json:"kind"` // "control plane" or "file"
	From      string `json:"from"`
	Connected bool   `json:"connected"`
	LastError string `json:"last_error,omitempty"`
}

// sourceDump is what /config_dump tells of a source.
type sourceDump struct {
	sourceStatus
	Rejections []rejection `json:"rejections,omitempty"`
	Resources  []any       `json:"resources,omitempty"`
}

func dumpSource(s source) sourceDump {
	return sourceDump{sourceStatus: s.status(), Rejections: s.rejections(), Resources: s.resources()}
}

// rejection is a resource that was refused and not replaced since.
type rejection struct {
	Resource string `json:"resource"`
	Reason   string `json:"reason"`
}

func (s *Sidecar) startSource(ctx context.Context) error {
	if s.cfg.ControlPlane == nil {
		return s.startFile(ctx)
	}
	return s.startXDS()
}

// lkgFile is the last-known-good configuration in the data folder.
const lkgFile = "config.lkg"

type xdsSource struct {
	address string
	client  *client.Client
}

func (s *Sidecar) startXDS() error {
	conn, err := dialControlPlane(s.cfg.ControlPlane)
	if err != nil {
		return err
	}
	s.parts.add("control plane connection", func(context.Context) error { return conn.Close() })
	c := client.New(client.Options{
		Conn: conn, NodeID: s.id, Version: Version(), Apply: s.apply, Check: s.check,
		OnResponse: s.noteChange, // a refusal, or the end of one, need not change the Snapshot
		LKGPath:    filepath.Join(s.cfg.DataDir, lkgFile), Logger: s.log.With("part", "xds"),
	})
	s.source = &xdsSource{address: s.cfg.ControlPlane.Address, client: c}
	s.parts.background("xds", s.fail, c.Run)
	f := &fleetClient{
		conn: conn, id: s.id, version: Version(), reports: s.newReporter, obey: s.obey,
		changed: s.changed, counted: s.counted, log: s.log.With("part", "fleet"),
	}
	s.parts.background("fleet", s.fail, f.run)
	return nil
}

func (x *xdsSource) status() sourceStatus {
	st := x.client.Status()
	return sourceStatus{Kind: "control plane", From: x.address, Connected: st.Connected, LastError: st.LastError}
}

func (x *xdsSource) rejections() []rejection {
	var out []rejection
	for _, r := range x.client.Refused() {
		out = append(out, rejection{Resource: r.Name, Reason: r.Error})
	}
	return out
}

func (x *xdsSource) resources() []any {
	var out []any
	for _, r := range x.client.Resources() {
		out = append(out, map[string]any{
			"name": r.Name, "type": r.TypeURL, "version": r.Version, "client_status": r.Status, "error": r.Error,
			"last_updated": optionalTime(r.LastUpdated),
		})
	}
	return out
}

// maxConnectWait is the longest wait between tries to connect.
const maxConnectWait = 10 * time.Second

// dialControlPlane makes the connection that configuration and fleet share; it connects when first used and again
// whenever it breaks.
func dialControlPlane(c *config.ControlPlane) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if c.TLS != nil {
		conf, err := controlPlaneTLS(c.TLS)
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(conf)
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 20 * time.Second, Timeout: 20 * time.Second, PermitWithoutStream: true,
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxConnectWait},
			MinConnectTimeout: 20 * time.Second,
		}),
	}
	token, err := controlPlaneToken(c)
	if err != nil {
		return nil, err
	}
	if token != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer{token: token, secure: c.TLS != nil}))
	}
	conn, err := grpc.NewClient(c.Address, opts...)
	if err != nil {
		return nil, fmt.Errorf("control_plane.address: %w", err)
	}
	return conn, nil
}

func controlPlaneToken(c *config.ControlPlane) (string, error) {
	if c.TokenFile == "" {
		return c.Token.Reveal(), nil
	}
	b, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("control_plane.token_file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "", errors.New("control_plane.token_file: the file is empty")
	}
	return line, nil
}

// bearer puts the sidecar's token on every call.
type bearer struct {
	token  string
	secure bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.secure }
