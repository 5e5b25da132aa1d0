package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// dev is the running `sidehook dev`.
type dev struct {
	cmd    *exec.Cmd
	exited chan error
	log    string // file with what it logs
	remove string // folder to remove at the end

	grpc, http, admin, xds, rest, inbox string
	token, tokenFile                    string
}

// startDev starts the binary and waits until its sidecar is ready.
func startDev(ctx context.Context, o options) (*dev, error) {
	d := &dev{
		grpc: "127.0.0.1:4460", http: "127.0.0.1:4461", admin: "127.0.0.1:4462", xds: "127.0.0.1:4470",
		rest: "127.0.0.1:4471", inbox: "127.0.0.1:4480", exited: make(chan error, 1),
	}
	if o.freePorts {
		if err := d.pickPorts(); err != nil {
			return nil, err
		}
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "sidehook-demo-")
		if err != nil {
			return nil, err
		}
		o.dir, d.remove = dir, dir
	} else if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return nil, err
	}
	d.log = filepath.Join(o.dir, "dev.log")
	logFile, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	d.cmd = exec.Command(o.binary, "dev", "--data", o.dir, "--transformer", "redact="+o.transformer,
		"--listen-grpc", d.grpc, "--listen-http", d.http, "--listen-admin", d.admin, "--listen-xds", d.xds,
		"--listen-rest", d.rest, "--listen-inbox", d.inbox)
	d.cmd.Stdout, d.cmd.Stderr = logFile, logFile
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches us alone; we stop it in order
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s (make build makes it): %w", o.binary, err)
	}
	go func() { d.exited <- d.cmd.Wait() }()
	if err := d.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	d.tokenFile = filepath.Join(o.dir, "admin.token")
	token, err := os.ReadFile(d.tokenFile)
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	d.token = strings.TrimSpace(string(token))
	return d, nil
}

func (d *dev) pickPorts() error {
	for _, addr := range []*string{&d.grpc, &d.http, &d.admin, &d.xds, &d.rest, &d.inbox} {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer lis.Close() // all are open until all are picked, so they differ
		*addr = lis.Addr().String()
	}
	return nil
}

// awaitReady asks the sidecar until it has its configuration.
func (d *dev) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("sidehook dev did not become ready"))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.admin+"/ready", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case err := <-d.exited:
			d.exited <- err
			return fmt.Errorf("sidehook dev ended at once: %w\n%s", err, d.lastLog())
		case <-ctx.Done():
			return fmt.Errorf("%w\n%s", context.Cause(ctx), d.lastLog())
		}
	}
}

// lastLog is the end of what dev wrote.
func (d *dev) lastLog() string {
	b, err := os.ReadFile(d.log)
	if err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-8):], []byte("\n")))
}

// stop asks dev to stop and waits for it.
func (d *dev) stop() error {
	defer func() {
		if d.remove != "" {
			_ = os.RemoveAll(d.remove) // a temporary folder; the system clears it otherwise
		}
	}()
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case err := <-d.exited:
		if err != nil {
			return fmt.Errorf("sidehook dev did not stop cleanly: %w\n%s", err, d.lastLog())
		}
		return nil
	case <-time.After(patience):
		return errors.Join(errors.New("sidehook dev did not stop; killed"), d.cmd.Process.Kill(), <-d.exited)
	}
}
