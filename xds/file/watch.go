package file

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/sidehook/sidehook/xds"
)

// Options of a Watcher.
type Options struct {
	// Interval between looks at the file; default 1 s.
	Interval time.Duration
	// Ticks says when to look instead of a timer of Interval.
	Ticks <-chan time.Time
	// Logger; nil discards.
	Logger *slog.Logger
}

// Status describes a Watcher.
type Status struct {
	// Path of the file.
	Path string
	// Resources that are live.
	Resources int
	// AppliedAt is when they were applied.
	AppliedAt time.Time
	// Error says why the file as it is now is not live; empty when it is.
	Error string
}

// Watcher applies a file, and applies it again whenever it, or a key file it names, changes. A file that is wrong
// changes nothing: the configuration before it stays live.
type Watcher struct {
	opts  Options
	path  string
	apply func([]*xds.Resource) error
	log   *slog.Logger

	seen fingerprint // of what was read last

	mu     sync.Mutex
	status Status
}

// New makes a Watcher; apply is called from Run's goroutine.
func New(path string, apply func([]*xds.Resource) error, opts Options) *Watcher {
	if opts.Interval <= 0 {
		opts.Interval = time.Second
	}
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Watcher{opts: opts, path: path, apply: apply, log: log, status: Status{Path: path}}
}

// Watch is New and Run.
func Watch(ctx context.Context, path string, apply func([]*xds.Resource) error, opts Options) error {
	return New(path, apply, opts).Run(ctx)
}

// Run applies the file, then watches it until ctx ends; it returns the cause. A file that is wrong at the start is an
// error: there is nothing to fall back on.
func (w *Watcher) Run(ctx context.Context) error {
	if err := w.look(); err != nil {
		return err
	}
	ticks := w.opts.Ticks
	if ticks == nil {
		ticker := time.NewTicker(w.opts.Interval)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticks:
			if err := w.look(); err != nil {
				w.log.Error("the webhooks file is not applied; the configuration before it stays", "error", err)
			}
		}
	}
}

// Status describes the watcher as it is now.
func (w *Watcher) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// look reads the file if it changed, and applies it. What was found wrong is found wrong once: only a change is looked
// at again.
func (w *Watcher) look() error {
	if w.seen.unchanged(w.path) {
		return nil
	}
	now := fingerprint{at: time.Now(), files: map[string]fileState{w.path: stateOf(w.path)}}
	text, err := readLimited(w.path, MaxFileSize)
	now.text = sha256.Sum256(text)
	if err != nil {
		err = fmt.Errorf("webhooks file: %w", err)
	}
	var all []*xds.Resource
	if err == nil {
		var keyFiles []string
		all, keyFiles, err = parse(w.path, text)
		for _, name := range keyFiles {
			now.files[name] = stateOf(name)
		}
	}
	now.sum = sumOf(all, text, err)
	same := now.sum == w.seen.sum
	w.seen = now
	if same {
		return nil
	}
	if err == nil {
		if err = w.apply(all); err != nil {
			err = fmt.Errorf("webhooks file: %w", err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.status.Error = err.Error()
		return err
	}
	w.status.Error, w.status.Resources, w.status.AppliedAt = "", len(all), now.at
	w.log.Info("webhooks file applied", "path", w.path, "resources", len(all))
	return nil
}

// settled is how old a change has to be for its time to tell it from another: two in one tick of the file system's clock
// may have the same.
const settled = 2 * time.Second

// fingerprint is what files were like when they were read.
type fingerprint struct {
	at    time.Time
	files map[string]fileState
	text  [sha256.Size]byte // the sum of the file itself
	sum   [sha256.Size]byte // of what was read from them, or of why it could not be
}

// fileState tells a file from one that was changed or replaced.
type fileState struct {
	size int64
	mod  time.Time
	err  string
}

func stateOf(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		reason := err.Error()
		if errors.Is(err, fs.ErrNotExist) {
			reason = fs.ErrNotExist.Error()
		}
		return fileState{err: reason}
	}
	return fileState{size: info.Size(), mod: info.ModTime()}
}

// unchanged reports that there is no need to parse the file at path again. Where times do not tell, its text does: to
// parse a large one takes seconds.
func (f *fingerprint) unchanged(path string) bool {
	if f.files == nil {
		return false
	}
	at := f.at
	for name, was := range f.files {
		is := stateOf(name)
		if is != was {
			return false
		}
		if is.err != "" || f.at.Sub(is.mod) >= settled {
			continue
		}
		if name != path { // of a file with a key no sum is kept
			return false
		}
		at = time.Now()
		if text, err := readLimited(path, MaxFileSize); err != nil || sha256.Sum256(text) != f.text {
			return false
		}
	}
	f.at = at
	return true
}

// sumOf identifies the outcome of a read: resources (with the keys from other files), text or error.
func sumOf(all []*xds.Resource, text []byte, err error) [sha256.Size]byte {
	h := sha256.New()
	h.Write(text)
	for _, r := range all {
		h.Write([]byte(r.Name + "\x00" + r.Version() + "\x00"))
	}
	if err != nil {
		h.Write([]byte(err.Error()))
	}
	return [sha256.Size]byte(h.Sum(nil))
}
