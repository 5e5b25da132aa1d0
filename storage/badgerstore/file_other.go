//go:build !linux

package badgerstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes what was written to a file durable.
func syncData(f *os.File) error { return f.Sync() }

// allocate cannot take the room for a file here; it grows as it is written.
func allocate(*os.File, int64) error { return unix.ENOSYS }
