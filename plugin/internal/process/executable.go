package process

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrChecksum: the file is not the one that was approved.
var ErrChecksum = errors.New("checksum does not match")

// executable is a file to be run.
type executable struct {
	file *os.File
	path string // to give to exec
	name string // to show
}

func (e *executable) Close() {
	if e.file != nil {
		e.file.Close()
	}
}

// Check reports what would keep the command from being started: it is missing, not executable, or has another checksum.
func Check(path string, sum *[sha256.Size]byte) error {
	exe, err := openExecutable(path, sum)
	if err != nil {
		return err
	}
	exe.Close()
	return nil
}

// openExecutable finds the file and, with a checksum, verifies it. What was verified is what is run: the open file is
// executed, where the system can, and not whatever has the name by then. Whoever can write into the file itself can
// still change it; file permissions have to see to that. Only the command is verified, not what it reads (a script that
// is the argument of an interpreter).
func openExecutable(path string, sum *[sha256.Size]byte) (*executable, error) {
	full, err := exec.LookPath(path)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return nil, fmt.Errorf("command %s cannot be run: %w", path, errors.Unwrap(err))
	}
	if full, err = filepath.Abs(full); err != nil {
		return nil, fmt.Errorf("command %s: %w", path, err)
	}
	if sum == nil {
		return &executable{path: full, name: full}, nil
	}
	f, err := os.Open(full)
	if err != nil {
		return nil, fmt.Errorf("command cannot be read for its checksum: %w", err)
	}
	if err := verify(f, sum); err != nil {
		f.Close()
		return nil, fmt.Errorf("command %s: %w", full, err)
	}
	return &executable{file: f, path: openFilePath(f, full), name: full}, nil
}

func verify(f *os.File, want *[sha256.Size]byte) error {
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := h.Sum(nil); subtle.ConstantTimeCompare(got, want[:]) != 1 {
		return fmt.Errorf("%w: sha256 is %s, configured is %s", ErrChecksum, hex.EncodeToString(got),
			hex.EncodeToString(want[:]))
	}
	return nil
}

// isScript reports whether f starts with #!, so that an interpreter would have to open it by name.
func isScript(f *os.File) bool {
	var head [2]byte
	_, err := f.ReadAt(head[:], 0)
	return err == nil && string(head[:]) == "#!"
}
