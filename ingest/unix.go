package ingest

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	socketMode = 0o660
	// maxSocketPath is what fits sockaddr_un everywhere we run, without its final zero.
	maxSocketPath = 103
	// probeTimeout is how long another process has to answer on a socket that is there already.
	probeTimeout = time.Second
)

// ListenUnix listens on a unix socket at path, mode 0660 from the first instant whatever the umask. A socket that is
// there already is replaced when nobody answers on it; it is an error when somebody does, or when the path is something
// else than a socket. Closing the listener removes the socket.
func ListenUnix(path string) (net.Listener, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, fmt.Errorf("unix socket %s: %w", path, err)
	}
	l, err := bindAside(path)
	if err != nil {
		return nil, fmt.Errorf("unix socket %s: %w", path, err)
	}
	return l, nil
}

// checkSocketPath makes sure that path is free to be taken.
func checkSocketPath(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return errors.New("there is something else than a socket; move it away or choose another path")
	}
	conn, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		_ = conn.Close()
		return errors.New("another process listens there; stop it or choose another path")
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil // stale
	}
	return fmt.Errorf("cannot tell whether another process listens there: %w", err)
}

// bindAside binds the socket in a folder that only we can enter, sets its mode, and only then moves it to path. Setting
// the umask instead would hit every file that the process makes meanwhile.
func bindAside(path string) (_ net.Listener, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer func() {
		if rmErr := os.RemoveAll(dir); err == nil && rmErr != nil {
			err = rmErr
		}
	}()
	aside := filepath.Join(dir, "s")
	if len(aside) > maxSocketPath {
		return nil, fmt.Errorf("its folder has %d bytes, more than the %d that the system allows for a socket; choose a shorter one",
			len(filepath.Dir(path)), maxSocketPath-len(aside)+len(filepath.Dir(path)))
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: aside, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	u := &unixListener{Listener: l, path: path}
	if err := os.Chmod(aside, socketMode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if u.info, err = os.Lstat(aside); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := os.Rename(aside, path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return u, nil
}

// unixListener removes its socket when closed, unless another has taken the path.
type unixListener struct {
	net.Listener
	path string
	info fs.FileInfo
	once sync.Once
	err  error
}

// Addr is the path that clients dial, not the one that was bound.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *unixListener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.info) {
			l.err = os.Remove(l.path)
		}
		l.err = errors.Join(l.err, l.Listener.Close())
	})
	return l.err
}
