//go:build unix && !(linux && (amd64 || arm64))

package send

import (
	"errors"
	"syscall"
)

// nothingToRead reports whether a non-blocking socket is open and has no bytes to read. If it has, one is taken.
func nothingToRead(fd uintptr) bool {
	var b [1]byte
	for {
		_, err := syscall.Read(int(fd), b[:])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		return errors.Is(err, syscall.EAGAIN)
	}
}
