package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// resolvName is the file in a sidecar's folder that it has instead of /etc/resolv.conf.
const resolvName = "resolv.conf"

// roleResolver is what a process is before it becomes a program that sees another /etc/resolv.conf.
const roleResolver = "resolver"

// withResolver has cmd see a file instead of /etc/resolv.conf. Only that process does: its mounts are its own. It takes
// root, like listening on the port of a name server, which is the only port that a resolver asks.
func withResolver(file string, cmd *exec.Cmd) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	wrapped := exec.Command(self, append([]string{"-role", roleResolver, "--", file}, cmd.Args...)...)
	wrapped.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return wrapped, nil
}

// tryResolver says why a sidecar cannot have another /etc/resolv.conf here, nil when it can.
func (b *bench) tryResolver() error {
	file := filepath.Join(b.dir, resolvName)
	if err := os.WriteFile(file, []byte(silentResolv), 0o600); err != nil {
		return err
	}
	program, err := filepath.Abs(b.set.binary)
	if err != nil {
		return err
	}
	cmd, err := withResolver(file, exec.Command(program, "version"))
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("a sidecar with a name server of its own: %w\n%s", err, out)
	}
	return nil
}

// becomeWithResolver ends in the program that args name after the file.
func becomeWithResolver(args []string) error {
	if len(args) < 2 {
		return errors.New("a file and a program are needed")
	}
	if err := syscall.Mount(args[0], "/etc/resolv.conf", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", args[0], err)
	}
	return fmt.Errorf("%s: %w", args[1], syscall.Exec(args[1], args[1:], os.Environ()))
}

// silentDNS is a name server that never answers.
type silentDNS struct {
	conn  net.PacketConn
	serve sync.WaitGroup
}

// silentHost is an address of this host that no other name server has.
const silentHost = "127.53.53.53"

func startSilentDNS() (*silentDNS, error) {
	conn, err := net.ListenPacket("udp", net.JoinHostPort(silentHost, "53"))
	if err != nil {
		return nil, err
	}
	d := &silentDNS{conn: conn}
	d.serve.Go(func() {
		for b := make([]byte, 1500); ; {
			if _, _, err := conn.ReadFrom(b); err != nil {
				return // closed
			}
		}
	})
	return d, nil
}

func (d *silentDNS) stop() error {
	err := d.conn.Close()
	d.serve.Wait()
	return err
}

// silentResolv is the /etc/resolv.conf of who asks the silent name server.
const silentResolv = "nameserver " + silentHost + "\noptions timeout:30 attempts:1\n"
