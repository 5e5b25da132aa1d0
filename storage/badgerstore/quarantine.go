package badgerstore

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// OpenOrSetAside opens the queue in dir as Open does, once Badger's files in it have been compared with their checksums.
// When they are damaged so that the queue cannot be used, the folder is renamed to aside, and an empty queue begins in its
// place: a sidecar that takes new events is worth more than one that cannot start. What is set aside is left as it is,
// for people to look into. aside is empty when all is well, and when the damage could be mended without a loss.
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
	aside, err = setAsideIf(dir, &opts, opts.examine)
	if err != nil {
		return nil, "", err
	}
	s, err = openRecovering(dir, opts)
	if err == nil || !isDamage(err) {
		return s, aside, err
	}
	if aside, err = setAsideIf(dir, &opts, func(string) error { return err }); err != nil {
		return nil, "", err
	}
	s, err = Open(dir, opts)
	return s, aside, err
}

// setAsideIf renames the folder when look says that it is damaged.
//
// Invariant: looking and renaming happen under the folder's lock, the one that Badger takes: the files of a queue that is
// in use are not as they seem, and are not ours to move.
func setAsideIf(dir string, opts *Options, look func(dir string) error) (aside string, err error) {
	lock, err := lockFolder(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	damage := look(dir)
	if damage == nil || !isDamage(damage) {
		return "", damage
	}
	aside = dir + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000")
	if err := os.Rename(dir, aside); err != nil {
		return "", errors.Join(damage, fmt.Errorf("set the damaged queue aside: %w", err))
	}
	opts.Logger.Error("the queue is damaged; it was set aside with all that was not delivered, and an empty one begins",
		"folder", aside, "error", damage)
	return aside, nil
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
