package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// damageError says that a file of Badger's is damaged.
type damageError struct {
	file string
	err  error
}

func (e *damageError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.file, e.err) }
func (e *damageError) Unwrap() error { return e.err }

// verifyFiles compares Badger's files in dir with their checksums, before Badger sees them: it ends the process over a
// table whose end was cut off, reads blocks unchecked, and takes a folder without manifest for an empty one, whose tables
// it removes. The error is a *damageError, or trouble with reading.
func verifyFiles(dir string, opts badger.Options) error {
	m, err := readManifest(dir, opts)
	if err != nil || m == nil {
		return err
	}
	for id := range m.Tables {
		name := table.IDToFilename(id)
		if err := verifyTable(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// readManifest reads which tables there are; nil for a folder without any of Badger's files.
func readManifest(dir string, opts badger.Options) (*badger.Manifest, error) {
	path := filepath.Join(dir, badger.ManifestFilename)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, expectEmpty(dir)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f, opts.ExternalMagicVersion, opts)
	if err != nil {
		return nil, &damageError{path, err}
	}
	return &m, nil
}

// expectEmpty: a folder that has no manifest has no tables, logs or segments either.
func expectEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".sst", ".mem", ".seg":
			return &damageError{filepath.Join(dir, badger.ManifestFilename), fmt.Errorf("it is missing, but %s is there", e.Name())}
		}
	}
	return err
}

// verifyTable checks a table: its blocks, each followed by its checksum and the length of that; then the index, its
// length, its checksum, and the length of that.
func verifyTable(path string) (err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &damageError{path, errors.New("it is missing")}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return &damageError{path, errors.New("it is empty")}
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(data)) }()
	if err := verifyTableBytes(data); err != nil {
		return &damageError{path, err}
	}
	return nil
}

var errTableShort = errors.New("it is cut off")

func verifyTableBytes(data []byte) error {
	rest, sum, ok := cutSum(data)
	if !ok {
		return errTableShort
	}
	rest, size, ok := cutLength(rest)
	if !ok || size > len(rest) {
		return errTableShort
	}
	index := rest[len(rest)-size:]
	if err := verifySum(index, sum); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	// What the checksum vouches for can be read without further checks.
	root := fb.GetRootAsTableIndex(index, 0)
	var at fb.BlockOffset
	for i := range root.OffsetsLength() {
		if !root.Offsets(&at, i) {
			return fmt.Errorf("block %d is not in the index", i)
		}
		from, to := int(at.Offset()), int(at.Offset())+int(at.Len())
		if to > len(rest)-size {
			return errTableShort
		}
		block, sum, ok := cutSum(data[from:to])
		if !ok {
			return fmt.Errorf("block %d: %w", i, errTableShort)
		}
		if err := verifySum(block, sum); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

// cutLength takes a length off the end.
func cutLength(data []byte) (rest []byte, n int, ok bool) {
	if len(data) < 4 {
		return nil, 0, false
	}
	rest = data[:len(data)-4]
	return rest, int(binary.BigEndian.Uint32(data[len(data)-4:])), true
}

// cutSum takes a checksum and its length off the end.
func cutSum(data []byte) (rest, sum []byte, ok bool) {
	rest, n, ok := cutLength(data)
	if !ok || n > len(rest) {
		return nil, nil, false
	}
	return rest[:len(rest)-n], rest[len(rest)-n:], true
}

func verifySum(data, sum []byte) error {
	var want pb.Checksum
	if err := proto.Unmarshal(sum, &want); err != nil {
		return fmt.Errorf("its checksum cannot be read: %w", err)
	}
	switch want.GetAlgo() {
	case pb.Checksum_CRC32C, pb.Checksum_XXHash64:
		return y.VerifyChecksum(data, &want)
	}
	return fmt.Errorf("its checksum is of an unknown kind: %s", want.GetAlgo())
}

// isDamage reports whether an error of opening is the fault of the files and nothing else's.
func isDamage(err error) bool {
	var damage *damageError
	return errors.As(err, &damage) || errors.Is(err, errCorrupt)
}
