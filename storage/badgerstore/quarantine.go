package badgerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// OpenOrSetAside opens the queue in dir as Open does, once Badger's files in it have been compared with their checksums.
// When they are damaged so that the database cannot be used, they are moved to aside, a new folder beside dir, for people
// to look into, and the queue is rebuilt from its segments, which stay; see Store.Rebuilt. Should even that fail over what
// is in them, the whole folder is renamed to aside, and an empty queue begins in its place: a sidecar that takes new events
// is worth more than one that cannot start. aside is empty when all is well, and when the damage could be mended without a
// loss.
//
// Trouble that is none of the files' own sets nothing aside: a disk that is full or refuses, a folder that another
// process has open, a format of another version.
func OpenOrSetAside(dir string, opts Options) (s *Store, aside string, err error) {
	if opts, err = opts.withDefaults(); err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("make the data folder: %w", err)
	}
	if err := opts.checkDisk(dir); err != nil {
		return nil, "", err
	}
	look := opts.examine
	for _, move := range []func(string, *Options, error) (string, error){moveDatabase, moveFolder} {
		moved, err := setAsideIf(dir, &opts, look, move)
		if err != nil {
			return nil, aside, err
		}
		if moved != "" {
			aside = moved
		}
		s, err = openRecovering(dir, opts)
		if err == nil || !isDamage(err) {
			return s, aside, err
		}
		look = func(string) error { return err }
	}
	return nil, aside, err
}

// setAsideIf moves what it is to move when look says that it is damaged.
//
// Invariant: looking and moving happen under the folder's lock, the one that Badger takes: the files of a queue that is
// in use are not as they seem, and are not ours to move.
func setAsideIf(
	dir string, opts *Options, look func(dir string) error, move func(dir string, opts *Options, damage error) (string, error),
) (aside string, err error) {
	lock, err := lockFolder(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	damage := look(dir)
	if damage == nil || !isDamage(damage) {
		return "", damage
	}
	if aside, err = move(dir, opts, damage); err != nil {
		return "", errors.Join(damage, fmt.Errorf("set the damaged queue aside: %w", err))
	}
	return aside, nil
}

func asideName(dir string) string {
	return dir + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000")
}

// moveDatabase moves everything but the segments. Segments without a database are what a queue is rebuilt from, so it
// does not matter how far this comes before a crash, as long as the manifest goes first.
func moveDatabase(dir string, opts *Options, damage error) (aside string, err error) {
	aside = asideName(dir)
	if err := os.Mkdir(aside, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	names := []string{badger.ManifestFilename}
	for _, e := range entries {
		if name := strings.TrimSuffix(e.Name(), damagedSuffix); filepath.Ext(name) != segmentSuffix {
			names = append(names, e.Name())
		}
	}
	for _, name := range names {
		err := os.Rename(filepath.Join(dir, name), filepath.Join(aside, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	if err := errors.Join(syncFolder(aside), syncFolder(dir)); err != nil {
		return "", err
	}
	opts.Logger.Error("the database of the queue is damaged; it was set aside, and the queue is rebuilt from its segments",
		"folder", aside, "error", damage)
	return aside, nil
}

// moveFolder moves the whole queue.
func moveFolder(dir string, opts *Options, damage error) (aside string, err error) {
	aside = asideName(dir)
	if err := os.Rename(dir, aside); err != nil {
		return "", err
	}
	opts.Logger.Error("the queue is damaged; it was set aside with all that was not delivered, and an empty one begins",
		"folder", aside, "error", damage)
	return aside, os.Mkdir(dir, 0o700)
}

// examine mends what can be mended, and verifies the rest.
func (o *Options) examine(dir string) error {
	mended, err := mendFiles(dir)
	for _, what := range mended {
		o.Logger.Warn("a file of the queue was mended; nothing is lost", "file", what)
	}
	if err != nil {
		return err
	}
	return verifyFiles(dir, o.badgerOptions(dir))
}

// lockFolder takes the lock that Badger takes. Closing the file gives it back.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the queue in %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("open the queue in %s: another process is using it: %w", dir, err), f.Close())
	}
	return f, nil
}

// openRecovering is Open; a panic over what was read is damage.
func openRecovering(dir string, opts Options) (s *Store, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, &damageError{dir, fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	return Open(dir, opts)
}
