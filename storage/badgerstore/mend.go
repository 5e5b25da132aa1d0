package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// mendFiles puts right what can be put right without losing anything, and returns what that was, in words:
//
//   - The registry of keys holds none, for nothing is encrypted: when it is not as it should be, it is set aside and Badger
//     writes another.
//   - A log of zero bytes, which is what a crash between making and growing it leaves, holds nothing: it is removed, for
//     Badger does not open it.
//   - The first eight bytes of a log are the number of its key, which is zero: so it is written again.
func mendFiles(dir string) (mended []string, err error) {
	note := func(what string, err error) error {
		if what != "" && err == nil {
			mended = append(mended, what)
		}
		return err
	}
	if err := note(mendRegistry(filepath.Join(dir, badger.KeyRegistryFileName))); err != nil {
		return mended, err
	}
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return mended, err
		}
		for _, path := range paths {
			if err := note(mendLog(path)); err != nil {
				return mended, err
			}
		}
	}
	return mended, nil
}

// The registry without keys: 16 random bytes and this text.
const (
	registryIV   = 16
	registryText = "Hello Badger"
)

func mendRegistry(path string) (what string, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || len(text) == registryIV+len(registryText) && string(text[registryIV:]) == registryText {
		return "", err
	}
	aside := path + ".damaged"
	return fmt.Sprintf("%s was damaged; it holds nothing and was renamed to %s", path, filepath.Base(aside)), os.Rename(path, aside)
}

// logHead is the size of the head of Badger's logs, and logKey that of the key's number in it.
const (
	logHead = 20
	logKey  = 8
)

func mendLog(path string) (what string, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var head [logHead]byte
	switch n, err := f.ReadAt(head[:], 0); {
	case n == 0 && errors.Is(err, io.EOF):
		return path + " was empty, as a crash can leave it, and was removed", os.Remove(path)
	case errors.Is(err, io.EOF):
		return "", &damageError{path, errors.New("its head is cut off")}
	case err != nil:
		return "", err
	}
	if binary.BigEndian.Uint64(head[:logKey]) == 0 {
		return "", nil
	}
	_, err = f.WriteAt(bytes.Repeat([]byte{0}, logKey), 0)
	return path + " named a key although nothing is encrypted; that was put right", errors.Join(err, f.Sync())
}
