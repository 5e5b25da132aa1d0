package send

import (
	"errors"
	"testing"
)

// The check at the socket stands on its own: whatever address connect(2) is about to get, the Guard has seen it.
func TestSocketCheck(t *testing.T) {
	c := New(Options{})
	t.Cleanup(c.Close)
	check := c.checkSocket("example.com")
	for address, through := range map[string]bool{
		"8.8.8.8:80":              true,
		"[2606:4700::1]:443":      true,
		"127.0.0.1:80":            false,
		"[::1]:80":                false,
		"[fe80::1%eth0]:80":       false,
		"[::ffff:127.0.0.1]:80":   false,
		"169.254.169.254:80":      false,
		"/run/containerd.sock":    false,
		"example.com:80":          false,
		"[64:ff9b::a9fe:a9fe]:80": false,
	} {
		err := check(t.Context(), "tcp", address, nil)
		var blocked *BlockedError
		if through != (err == nil) || err != nil && !errors.As(err, &blocked) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
