package config

import "testing"

// FuzzSize: a size that is taken is written in a form that means the same.
func FuzzSize(f *testing.F) {
	for _, s := range []string{"256KiB", "64MB", "10GiB", "1B", "0B", "1 MB", "9223372036854775807B", "8388608TiB", "1e3B", "-1B", "+1B", "1", "", "MB", "1.5GB", "1 B"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil {
			return
		}
		again, err := ParseSize(n.String())
		if err != nil || again != n || n < 0 {
			t.Fatalf("%q is %d, written as %s, which is %d, %v", s, n, n, again, err)
		}
	})
}
