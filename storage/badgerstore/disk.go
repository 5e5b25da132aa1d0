package badgerstore

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidehook/sidehook"
)

// freeBytes asks the file system of dir how much room there is for this process.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask %s for its free space: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// checkDisk returns a *sidehook.FullError when dir has less room than MinFreeBytes.
func (o *Options) checkDisk(dir string) error {
	return o.checkRoom(dir, o.MinFreeBytes)
}

// checkRoom returns a *sidehook.FullError when dir has less room than least; a negative least is always there.
func (o *Options) checkRoom(dir string, least int64) error {
	if least < 0 {
		return nil
	}
	free, err := o.freeBytes(dir)
	if err != nil {
		return err
	}
	if free >= least {
		return nil
	}
	return &sidehook.FullError{
		What: fmt.Sprintf("disk of %s has %d MiB free, less than the %d MiB it must keep free",
			dir, free>>20, least>>20),
		RetryAfter: 5 * time.Second,
	}
}
