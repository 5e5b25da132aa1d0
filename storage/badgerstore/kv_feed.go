package badgerstore

import (
	"context"
	"strings"
	"sync"

	"github.com/sidehook/sidehook/storage"
)

// kvFeed hands the changes of a kvStore to its watches and remembers the last ones for watches that start in the past.
//
// Invariant: history holds every change with a revision above floor, in order. A watch's channel has room for its
// backlog and buffer more; announce never waits for a reader, it ends the watch of one that is behind.
type kvFeed struct {
	buffer     int // changes a reader may be behind
	maxChanges int // of history

	mu      sync.Mutex
	floor   int64
	history []storage.Change
	bytes   int // of the values in history
	watches map[*kvWatch]struct{}
	ending  sync.WaitGroup // watches whose end is not finished
}

type kvWatch struct {
	prefix string
	from   int64 // a commit is visible before it is announced, so what is announced may be known to whoever watches
	ch     chan storage.Change
	unhook func() bool // stops waiting for the end of the watch's context
}

const kvMaxHistoryBytes = 8 << 20

func newKVFeed(revision int64, buffer, maxChanges int) *kvFeed {
	return &kvFeed{buffer: buffer, maxChanges: maxChanges, floor: revision, watches: make(map[*kvWatch]struct{})}
}

func (f *kvFeed) announce(changes []storage.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range changes {
		f.history = append(f.history, c)
		f.bytes += len(c.Value)
	}
	f.forget()
	for w := range f.watches {
		f.send(w, changes)
	}
}

// forget drops the oldest whole revisions until history is within its bounds.
func (f *kvFeed) forget() {
	n := 0
	for n < len(f.history) && (len(f.history)-n > f.maxChanges || f.bytes > kvMaxHistoryBytes) {
		f.floor = f.history[n].Revision
		for n < len(f.history) && f.history[n].Revision == f.floor {
			f.bytes -= len(f.history[n].Value)
			f.history[n] = storage.Change{} // free its value before the array is grown anew
			n++
		}
	}
	f.history = f.history[n:]
}

func (f *kvFeed) send(w *kvWatch, changes []storage.Change) {
	for _, c := range changes {
		if c.Revision <= w.from || !strings.HasPrefix(c.Key, w.prefix) {
			continue
		}
		select {
		case w.ch <- c:
		default:
			f.end(w)
			return
		}
	}
}

func (f *kvFeed) watch(ctx context.Context, prefix string, from int64) (<-chan storage.Change, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if from < f.floor {
		return nil, storage.ErrCompacted
	}
	var missed []storage.Change
	for _, c := range f.history {
		if c.Revision > from && strings.HasPrefix(c.Key, prefix) {
			missed = append(missed, c)
		}
	}
	w := &kvWatch{prefix: prefix, from: from, ch: make(chan storage.Change, len(missed)+f.buffer)}
	for _, c := range missed {
		w.ch <- c
	}
	f.watches[w] = struct{}{}
	f.ending.Add(1)
	w.unhook = context.AfterFunc(ctx, func() {
		defer f.ending.Done()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.end(w)
	})
	return w.ch, nil
}

// end closes a watch; f.mu is held.
func (f *kvFeed) end(w *kvWatch) {
	if _, ok := f.watches[w]; !ok {
		return
	}
	delete(f.watches, w)
	close(w.ch)
	if w.unhook() {
		f.ending.Done()
	}
}

// reset ends all watches and knows nothing before revision any more.
func (f *kvFeed) reset(revision int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.history, f.bytes, f.floor = nil, 0, revision
	for w := range f.watches {
		f.end(w)
	}
}

// close ends all watches and waits until that is done. No watch may be started any more.
func (f *kvFeed) close() {
	f.reset(f.floor)
	f.ending.Wait()
}
