package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrNotEmpty is wrapped by the error of Write for a folder that holds something already.
var ErrNotEmpty = errors.New("it is not empty")

// Write writes a folder with a transformer to start from and returns the names of its files. It never changes a file that
// is there, and when it fails it leaves no file behind.
func Write(o Options) ([]string, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	files, err := Files(o)
	if err != nil {
		return nil, err
	}
	undo, err := makeEmpty(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot write to %s: %w", o.Dir, err)
	}
	var names []string
	for _, f := range files {
		if err := create(filepath.Join(o.Dir, f.Name), f); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot write to %s: %w", o.Dir, err), remove(o.Dir, names), undo())
		}
		names = append(names, f.Name)
	}
	return names, nil
}

// makeEmpty makes a folder, or finds that it is there and holds hidden files at most, such as .git. What it returns takes
// the folder away again if it was made.
func makeEmpty(dir string) (undo func() error, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
		return func() error { return os.Remove(dir) }, nil
	case err != nil:
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			return nil, fmt.Errorf("%w: %s is there. Choose another folder with --dir, or empty this one", ErrNotEmpty, e.Name())
		}
	}
	return func() error { return nil }, nil
}

// create writes a new file. O_EXCL: one that came meanwhile, or a link, is not written to.
func create(path string, f File) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.Mode)
	if err != nil {
		return err
	}
	if _, err := out.Write(f.Data); err != nil {
		return errors.Join(err, out.Close(), os.Remove(path))
	}
	if err := out.Close(); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func remove(dir string, names []string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, os.Remove(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}
