package badgerstore

import (
	"fmt"
	"time"

	"github.com/sidehook/sidehook"
)

// kvDiskRetry is the hint for when a refused commit can be tried again: somebody has to free space first.
const kvDiskRetry = 30 * time.Second

// checkDisk returns a *sidehook.FullError when fewer than least bytes are free. A negative MinFreeDisk turns it off.
func (kv *kvStore) checkDisk(least int64) error {
	if kv.opts.MinFreeDisk < 0 {
		return nil
	}
	free, err := kv.opts.freeDisk(kv.dir)
	if err != nil {
		return fmt.Errorf("ask for the free space: %w", err)
	}
	if free < least {
		return &sidehook.FullError{
			What:       fmt.Sprintf("%d MiB of disk are free and %d must stay so; free some", free>>20, least>>20),
			RetryAfter: kvDiskRetry,
		}
	}
	return nil
}
