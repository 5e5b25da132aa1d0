package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
)

// fail reports a problem at the key that path names, or at the nearest key around it that the file gives.
func (d *document) failAt(path, format string, args ...any) {
	d.add(d.placeOf(path), path, false, format, args)
}

func (d *document) warnAt(path, format string, args ...any) {
	d.add(d.placeOf(path), path, true, format, args)
}

// given reports whether the file has the key.
func (d *document) given(path string) bool {
	_, ok := d.places[path]
	return ok
}

func (d *document) placeOf(path string) place {
	for path != "" {
		if at, ok := d.places[path]; ok {
			return at
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return place{1, 1}
}

// troubled reports whether decoding already complained about the key, so that one mistake is reported once.
func (d *document) troubled(path string) bool {
	for _, p := range d.problems {
		if p.Field == path && !p.Warning {
			return true
		}
	}
	return false
}

func (d *document) oneOf(path, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	if d.troubled(path) {
		return
	}
	if near := suggest(value, allowed); near != "" {
		d.failAt(path, "%.40q is not known; did you mean %q?", value, near)
		return
	}
	d.failAt(path, "must be %s", strings.Join(allowed, " or "))
}

func (d *document) name(path, value string) {
	if !sidehook.ValidName(value) && !d.troubled(path) {
		d.failAt(path, "must be 1 to %d of A-Z a-z 0-9 _ -", sidehook.MaxNameLen)
	}
}

func (d *document) intRange(path string, value, low, high int) {
	if (value < low || value > high) && !d.troubled(path) {
		d.failAt(path, "must be %d to %d", low, high)
	}
}

func (d *document) sizeRange(path string, value, low, high Size) {
	if (value < low || value > high) && !d.troubled(path) {
		d.failAt(path, "must be %s to %s", low, high)
	}
}

func (d *document) durationRange(path string, value, low, high time.Duration) {
	if (value < low || value > high) && !d.troubled(path) {
		d.failAt(path, "must be %s to %s", plain(low), plain(high))
	}
}

// plain writes whole hours and minutes without the zeros that time.Duration adds.
func plain(v time.Duration) string {
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// off is what a listener is set to when it is not wanted.
const off = "off"

// address checks a host:port and reports whether it is one.
func (d *document) address(path, value string) bool {
	if d.troubled(path) {
		return false
	}
	_, port, err := net.SplitHostPort(value)
	if err != nil {
		d.failAt(path, "%.60q is not an address such as 127.0.0.1:4460", value)
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		d.failAt(path, "has a port that is not 0 to 65535")
		return false
	}
	return true
}

// isLoopback reports whether an address can only be reached from this host.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// distinct refuses two listeners on one address.
func (d *document) distinct(paths []string, address func(path string) string) {
	first := make(map[string]string)
	for _, path := range paths {
		a := address(path)
		if a == off || a == "" || strings.HasSuffix(a, ":0") {
			continue
		}
		if other, taken := first[a]; taken {
			d.failAt(path, "%s is the address of %s too; give each its own", a, other)
			continue
		}
		first[a] = path
	}
}

// resolve makes a path of the file absolute: a relative one counts from the folder of the file.
func (d *document) resolve(p *string) {
	if *p == "" || filepath.IsAbs(*p) {
		return
	}
	abs, err := filepath.Abs(filepath.Join(filepath.Dir(d.file), *p))
	if err == nil { // it fails only when the working directory is gone; the path then stays as it is
		*p = abs
	}
}

// readable resolves the path of a file that is needed at start and warns when it is not there: a file is often checked
// on another machine than the one it is for.
func (d *document) readable(path string, p *string) {
	if *p == "" {
		return
	}
	d.resolve(p)
	info, err := os.Stat(*p)
	switch {
	case err != nil:
		d.warnAt(path, "%s cannot be found on this machine", *p)
	case info.IsDir():
		d.failAt(path, "%s is a folder, not a file", *p)
	}
}

func indexed(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
