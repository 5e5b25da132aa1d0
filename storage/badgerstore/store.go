package badgerstore

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Store is a storage.Store on Badger. See the package comment for how it is built.
type Store struct {
	opts   Options
	dir    string
	db     *badger.DB
	segs   *segments
	log    *slog.Logger
	origin uint32

	in        *intake
	readers   readers
	cache     blockCache
	tiers     atomic.Pointer[tiers]
	committed atomic.Uint64         // the last commit that is durable: what readers read
	full      atomic.Pointer[error] // why there is no room on the disk, nil when there is
	shown     shownStats

	// life is held while the database is in use, and taken by Close to end that.
	life   sync.RWMutex
	closed bool

	stop      chan struct{} // closed by Close
	committer sync.WaitGroup
	keeper    sync.WaitGroup

	checkpoints    *checkpoints
	wantCheckpoint atomic.Bool
	replayFrom     atomic.Uint32 // the segment where the next start would begin to replay
	replaying      bool
	mending        mending // what Open has to do, and nothing else looks at
	rebuilt        Rebuilt
	strays         []stray
	victim         atomic.Uint32 // the segment to rewrite, 0 for none
	cleaner        cleaner
	idle           atomic.Bool   // no commits lately
	oldestHistSeg  atomic.Uint32 // the segment of the oldest results in the history

	closing  sync.Once
	closeErr error

	queuesMu sync.RWMutex
	queues   map[sidehook.WebhookKey]*queue

	mu      sync.Mutex
	batches map[uint64]*batch // with taken deliveries, or lately used

	// Only the committer, and Open before it starts, uses these.
	marks      marks // with what the commit under way changes
	durable    marks // as of the last commit
	dedupe     *dedupe
	open       []uint64 // batches that had taken deliveries when they were committed, oldest first
	idsUpTo    uint64   // i/ entries up to here are of no use
	oldestHist int64    // when the oldest h/ entry was committed; 0: look
	movesFirst bool     // a move did not fit beside the appended batches; the next commit leaves them out
	group      group
	fault      func() error // of tests: makes commits fail
	unwritten  error        // results that could not be written, for Close

	oldest  oldest       // no unfinished batch before it
	garbage atomic.Int64 // about how many bytes were deleted since the tables were last flattened
}

var _ storage.Store = (*Store)(nil)

// shownStats is what Stats shows, as of the last commit.
type shownStats struct {
	pending, held, queueSize, histSize, commits atomic.Int64
}

func (s *Store) show() {
	m := &s.marks
	s.shown.pending.Store(m.pending)
	s.shown.held.Store(m.held)
	s.shown.queueSize.Store(m.queueSize)
	s.shown.histSize.Store(m.histSize)
	s.shown.commits.Store(int64(m.commits))
}

// use begins the use of the database; the caller calls s.life.RUnlock when err is nil.
func (s *Store) use(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.life.RLock()
	if s.closed {
		s.life.RUnlock()
		return storage.ErrClosed
	}
	return nil
}

// Flush waits until everything submitted before it is committed.
func (s *Store) Flush(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done, err := s.in.flush()
	if err != nil {
		return err
	}
	return wait(ctx, done)
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Queues lists the queues.
func (s *Store) Queues(ctx context.Context) iter.Seq2[storage.QueueHead, error] {
	return func(yield func(storage.QueueHead, error) bool) {
		if err := s.use(ctx); err != nil {
			yield(storage.QueueHead{}, err)
			return
		}
		s.life.RUnlock()
		for _, h := range s.heads() {
			if !yield(h, nil) {
				return
			}
		}
	}
}

func (s *Store) heads() []storage.QueueHead {
	s.queuesMu.RLock()
	all := make([]*queue, 0, len(s.queues))
	for _, q := range s.queues {
		all = append(all, q)
	}
	s.queuesMu.RUnlock()
	heads := make([]storage.QueueHead, 0, len(all))
	for _, q := range all {
		if next := q.next(); !next.IsZero() {
			heads = append(heads, storage.QueueHead{Webhook: q.key, NextDue: next})
		}
	}
	return heads
}

// Stats counts, as of the last commit.
func (s *Store) Stats() storage.Stats {
	st := storage.Stats{
		Pending:      s.shown.pending.Load(),
		Held:         s.shown.held.Load(),
		HistoryBytes: s.shown.histSize.Load(),
		Commits:      s.shown.commits.Load(),
	}
	st.Bytes = s.shown.queueSize.Load() + st.HistoryBytes
	if st.Pending > 0 {
		st.OldestPending = s.oldestPending()
	}
	return st
}

// oldestPending looks for the first unfinished batch from where the last look ended, so that each batch is passed
// once. A requeued batch moves the place back.
func (s *Store) oldestPending() (at time.Time) {
	if err := s.use(context.Background()); err != nil {
		return time.Time{}
	}
	defer s.life.RUnlock()
	from, downs := s.oldest.at()
	err := s.view(func(m *moment) error {
		return scan(m, []byte{spaceBatch}, seqKey(spaceBatch, from), func(key, val []byte) (bool, error) {
			seq, err := seqOf(key)
			if err != nil {
				return false, err
			}
			b, err := decodeBatch(seq, val)
			if err != nil {
				return false, err
			}
			if b.unfinished == 0 {
				return true, nil
			}
			at = timeOf(b.accepted)
			s.oldest.raise(seq, downs)
			return false, nil
		})
	})
	if err != nil {
		s.log.Error("cannot tell the age of the oldest pending delivery", "error", err)
	}
	return at
}

// Close commits what was submitted, then closes the database.
func (s *Store) Close() error {
	return s.end(s.lastCheckpoint)
}

// end closes the store; last is called when nothing else runs any more.
func (s *Store) end(last func() error) error {
	s.closing.Do(func() {
		close(s.stop)
		s.in.close()
		s.committer.Wait()
		s.keeper.Wait()
		s.life.Lock()
		defer s.life.Unlock()
		s.closed = true
		s.checkpoints.end()
		s.closeErr = errors.Join(s.unwritten, last(), s.db.Close(), s.segs.close())
	})
	return s.closeErr
}

// Damaged is how many records, bodies and segments could not be read since the store was opened, each of which was
// logged. What they held is lost; the rest is not.
func (s *Store) Damaged() int64 { return s.segs.damaged.Load() }
