package control

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/sidehook/sidehook/storage"
)

// progress says how far publishing has come, so that a change can wait until it was handed over.
//
// A commit is handed over when all its changes were. The store sends them one by one, in order, all under the commit's
// revision; so progress counts those of the newest revision.
type progress struct {
	mu       sync.Mutex
	running  bool // somebody follows the store, or tries to
	ok       bool // the store is being followed
	revision int64
	count    int           // changes seen of revision; all older revisions were seen whole
	moved    chan struct{} // closed on every step
}

func newProgress() *progress { return &progress{moved: make(chan struct{})} }

func (p *progress) step(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.moved)
	p.moved = make(chan struct{})
}

func (p *progress) loaded(revision int64) {
	p.step(func() { p.running, p.ok, p.revision, p.count = true, true, revision, math.MaxInt })
}

func (p *progress) lost() { p.step(func() { p.ok = false }) }

func (p *progress) ended() { p.step(func() { p.running, p.ok = false, false }) }

func (p *progress) following() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ok
}

func (p *progress) saw(batch []storage.Change) {
	p.step(func() {
		for _, c := range batch {
			if c.Revision > p.revision {
				p.revision, p.count = c.Revision, 0
			}
			if p.count < math.MaxInt {
				p.count++
			}
		}
	})
}

// has reports whether the n changes of a revision were seen, and a channel that says when to ask again; nil when
// nobody follows the store and waiting makes no sense.
func (p *progress) has(revision int64, n int) (bool, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.revision > revision || p.revision == revision && p.count >= n {
		return true, nil
	}
	if !p.running {
		return false, nil
	}
	return false, p.moved
}

// maxHandOver bounds the wait for the Publisher: the change is durable, and its answer must not be lost.
const maxHandOver = 5 * time.Second

// waitFor waits until a commit of n changes was handed to the Publisher, or that is not to be expected.
func (f *feed) waitFor(ctx context.Context, revision int64, n int) {
	timer := time.NewTimer(maxHandOver)
	defer timer.Stop()
	for {
		seen, moved := f.progress.has(revision, n)
		if seen || moved == nil {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		case <-timer.C:
			f.log.WarnContext(ctx, "change is stored but not published yet", "revision", revision)
			return
		}
	}
}
