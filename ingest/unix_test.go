package ingest

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

func TestListenUnixServes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sidehook.sock")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	d := openDoorOn(t, Options{Acceptor: newKeeper("demo")}, l, "unix:"+path)
	if _, err := d.client.Publish(limited(t), &eventsv1.PublishRequest{Events: []*eventsv1.Event{event1("1")}}); err != nil {
		t.Fatal(err)
	}
	if l.Addr().String() != path {
		t.Errorf("address %s", l.Addr())
	}
}

func TestListenUnixMode(t *testing.T) {
	for _, umask := range []int{0, 0o077, 0o777} {
		dir := t.TempDir()
		old := syscall.Umask(umask)
		path := filepath.Join(dir, "s")
		l, err := ListenUnix(path)
		syscall.Umask(old)
		if umask == 0o777 && err != nil && os.Getuid() != 0 {
			continue // the folder for binding cannot be entered by its owner
		}
		if err != nil {
			t.Fatalf("umask %o: %v", umask, err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != socketMode {
			t.Errorf("umask %o: mode %v, %v", umask, info.Mode(), err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 0 {
			t.Errorf("closing left %v, %v", left, err)
		}
	}
}

func TestListenUnixReplacesOnlyAStaleSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Fatalf("taken from one that listens: %v", err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	first, err := ListenUnix(path)
	if err != nil {
		t.Fatalf("stale: %v", err)
	}
	// Another takes the path; closing the first must leave it alone.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.Close(), first.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the first took the second's socket with it: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestListenUnixRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, strings.Repeat("x", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                          "something else than a socket",
		dir:                           "something else than a socket",
		filepath.Join(long, "s"):      "choose a shorter one",
		filepath.Join(dir, "no", "s"): "no such file",
		filepath.Join(file, "s"):      "not a directory",
		filepath.Join(dir, strings.Repeat("y", 300)): "name too long",
	} {
		if l, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", path, l, err, want)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file: %q, %v", b, err)
	}
}
