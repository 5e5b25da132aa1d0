package badgerstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes what was written to a file durable, and of its metadata what is needed to find it.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// allocate takes the room for a file of that size.
func allocate(f *os.File, size int64) error { return unix.Fallocate(int(f.Fd()), 0, 0, size) }
