package badgerstore

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/sidehook/sidehook/storage"
)

// Limits of what is submitted and not committed; submitters wait beyond them.
const (
	maxWaitingBytes = 8 << 20 // of batches
	maxWaitingMoves = 8 << 10 // results and the like
)

// lingerFor is how long moves wait for others, or for an append to ride along with. Appends never wait.
const lingerFor = 2 * time.Millisecond

// lingerUntil is the number of moves at which they wait no longer.
const lingerUntil = 1024

// submission is a batch on its way to the committer, encoded by the goroutine that submits it.
type submission struct {
	batch   *storage.Batch
	records []byte // of its events, back to back
	ends    []int  // where each record ends
	ids     []idHash
	cost    txnCost
	weight  int64 // in the semaphore
}

// moveKind says what happens to a delivery.
type moveKind uint8

const (
	moveRecord moveKind = iota
	moveUnclaim
	moveRequeue
	moveLost // its event cannot be read; end it
)

// move is one change to one delivery, on its way to the committer.
type move struct {
	kind   moveKind
	result storage.Result
	again  *result // with moveRequeue: how it stood when it ended
	waiter *waiter
}

// waiter is told when all the moves of one call are committed.
type waiter struct {
	left  int
	moved int
	err   error
	done  chan struct{}
}

// flush waits until as many batches and moves as had been submitted before it are committed.
type flush struct {
	batches, moves uint64
	done           chan struct{}
}

// intake is where submitters meet the committer.
type intake struct {
	batchRoom *semaphore.Weighted
	moveRoom  *semaphore.Weighted
	wake      chan struct{} // has room for one

	mu           sync.Mutex
	closed       bool
	batches      []*submission
	moves        []move
	oldest       time.Time // when the first of moves came
	urgent       bool      // somebody waits for moves
	tidy         bool      // housekeeping is due
	flushes      []flush
	batchesIn    uint64
	movesIn      uint64
	batchesDone  uint64
	movesDone    uint64
	spareBatches []*submission
	spareMoves   []move
}

// maxSpareMoves is how many moves the memory is kept for: those of a commit under full load.
const maxSpareMoves = 4096

func newIntake() *intake {
	return &intake{
		batchRoom: semaphore.NewWeighted(maxWaitingBytes),
		moveRoom:  semaphore.NewWeighted(maxWaitingMoves),
		wake:      make(chan struct{}, 1),
	}
}

func (in *intake) signal() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// acquire waits for room; the error is ctx's cause.
func acquire(ctx context.Context, room *semaphore.Weighted, n int64) error {
	if err := room.Acquire(ctx, n); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (in *intake) submit(ctx context.Context, sub *submission) error {
	sub.weight = min(int64(len(sub.records))+1024, maxWaitingBytes)
	if err := acquire(ctx, in.batchRoom, sub.weight); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		in.batchRoom.Release(sub.weight)
		return storage.ErrClosed
	}
	in.batches = append(in.batches, sub)
	in.batchesIn++
	in.signal()
	return nil
}

// move submits moves, as many at a time as there is room for. A waiter's moves are urgent.
func (in *intake) move(ctx context.Context, moves []move) error {
	for len(moves) > 0 {
		n := min(len(moves), maxWaitingMoves/4)
		if err := acquire(ctx, in.moveRoom, int64(n)); err != nil {
			return err
		}
		if err := in.enter(moves[:n]); err != nil {
			in.moveRoom.Release(int64(n))
			return err
		}
		moves = moves[n:]
	}
	return nil
}

func (in *intake) enter(moves []move) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return storage.ErrClosed
	}
	if len(in.moves) == 0 {
		in.oldest = time.Now()
	}
	in.moves = append(in.moves, moves...)
	in.movesIn += uint64(len(moves))
	in.urgent = in.urgent || moves[0].waiter != nil
	in.signal()
	return nil
}

// flush returns a channel that is closed when everything submitted so far is committed.
func (in *intake) flush() (<-chan struct{}, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, storage.ErrClosed
	}
	f := flush{batches: in.batchesIn, moves: in.movesIn, done: make(chan struct{})}
	if f.batches == in.batchesDone && f.moves == in.movesDone {
		close(f.done)
		return f.done, nil
	}
	in.flushes = append(in.flushes, f)
	in.signal()
	return f.done, nil
}

// wantTidy asks the committer for a commit even if there is nothing but housekeeping.
func (in *intake) wantTidy() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.tidy = true
	in.signal()
}

// submitted counts everything that ever came in.
func (in *intake) submitted() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.batchesIn + in.movesIn
}

// close lets nothing more in. What is in is still committed.
func (in *intake) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	in.signal()
}

// await blocks until a commit is due; false when there will be none any more.
func (in *intake) await() bool {
	var timer *time.Timer
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	for {
		ready, last, wait := in.due()
		if ready || last {
			return ready
		}
		if wait <= 0 {
			<-in.wake
			continue
		}
		if timer == nil {
			timer = time.NewTimer(wait)
		} else {
			timer.Reset(wait)
		}
		select {
		case <-in.wake:
		case <-timer.C:
		}
	}
}

// due reports whether a commit is due, whether the last one has been, or else for how long moves may linger.
func (in *intake) due() (ready, last bool, wait time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case len(in.batches) > 0, in.tidy && !in.closed:
		return true, false, 0
	case len(in.moves) == 0:
		return false, in.closed, 0
	case in.closed, in.urgent, len(in.flushes) > 0, len(in.moves) >= lingerUntil:
		return true, false, 0
	}
	wait = lingerFor - time.Since(in.oldest)
	return wait <= 0, false, wait
}

// takeBatches gives the batches that fit, oldest first; at least one if there is any.
func (in *intake) takeBatches(room txnCost) []*submission {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.tidy = false
	n, deliveries := 0, 0
	var sum txnCost
	for ; n < len(in.batches); n++ {
		sub := in.batches[n]
		sum.add(sub.cost)
		deliveries += sub.deliveries()
		if n > 0 && (sum.exceeds(room) || deliveries > storage.MaxBatchDeliveries) {
			break
		}
	}
	out := append(in.spareBatches[:0], in.batches[:n]...)
	in.batches = dropFirst(in.batches, n)
	in.spareBatches = out
	return out
}

func (sub *submission) deliveries() int {
	n := 0
	for i := range sub.batch.Entries {
		n += len(sub.batch.Entries[i].Deliveries)
	}
	return n
}

// takeMoves gives all waiting moves; giveBack returns those that did not fit, or reuse the memory when all did and are
// settled.
func (in *intake) takeMoves() []move {
	in.mu.Lock()
	defer in.mu.Unlock()
	out := in.moves
	in.moves, in.spareMoves = in.spareMoves, nil
	in.urgent = false
	return out
}

func (in *intake) reuse(moves []move) {
	if cap(moves) > maxSpareMoves {
		return
	}
	clear(moves)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.spareMoves = moves[:0]
}

func (in *intake) giveBack(moves []move) {
	if len(moves) == 0 {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.moves = append(moves[:len(moves):len(moves)], in.moves...)
	in.urgent = true
}

// finished counts what has been committed, or has failed, and wakes those who flush.
func (in *intake) finished(batches, moves int, bytes int64) {
	if batches > 0 {
		in.batchRoom.Release(bytes)
	}
	if moves > 0 {
		in.moveRoom.Release(int64(moves))
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.batchesDone += uint64(batches)
	in.movesDone += uint64(moves)
	left := in.flushes[:0]
	for _, f := range in.flushes {
		if f.batches <= in.batchesDone && f.moves <= in.movesDone {
			close(f.done)
		} else {
			left = append(left, f)
		}
	}
	in.flushes = left
}

// dropFirst removes n elements from the front, clearing them for the collector.
func dropFirst[T any](list []T, n int) []T {
	if n == len(list) {
		clear(list)
		return list[:0]
	}
	left := copy(list, list[n:])
	clear(list[left:])
	return list[:left]
}
