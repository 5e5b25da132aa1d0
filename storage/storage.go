// Package storage is the contract of a sidecar's queue: what makes an acknowledged event impossible to lose. It holds
// the types and the rules that every implementation keeps; badgerstore is the one in use, memstore the reference
// model, storagetest the suite both pass. It does not schedule, match or deliver.
//
// The shape is a log with consumers, so that it could stand on a distributed log as well as on a local disk:
//
//   - Append adds a batch of events, each with the deliveries it causes, in one durable commit.
//   - A delivery is then either taken: handed to the caller of Append, in memory, or queued: kept in the durable queue
//     of its webhook, ordered by due time, from which Claim takes it.
//   - Record ends a delivery or queues it again for later, and keeps the attempt in a bounded history.
//   - After a crash every taken delivery that was not recorded is found queued again: at least once.
package storage

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/sidehook/sidehook"
)

// ErrClosed: the store is closed.
var ErrClosed = errors.New("store is closed")

// HoldQueue is the queue of events that came in before the sidecar had any configuration. Its deliveries are taken
// off by matching the event again and appending it with SkipDedupe.
var HoldQueue = sidehook.WebhookKey{}

// Store is a sidecar's queue. All methods may be called concurrently.
type Store interface {
	// Append submits a batch for the next group commit and returns without waiting for it. Batches are committed in
	// the order of the calls. It blocks only while too much is uncommitted, and returns ctx's cause, ErrClosed, or a
	// *sidehook.FullError when there is no room; then nothing is stored. The batch must not be touched until it is
	// done; see Batch.
	Append(ctx context.Context, b *Batch) error

	// Claim takes up to limit queued deliveries of a webhook that are due at now, earliest first; ties in the order of
	// their ids. They are the caller's until it records them or the store is reopened. next is the due time of the
	// earliest delivery left in the queue, zero when it is empty; when it is not after now, more can be claimed.
	Claim(ctx context.Context, key sidehook.WebhookKey, now time.Time, limit int) (claimed []Claimed, next time.Time, err error)

	// Unclaim puts claimed or taken deliveries that were not attempted back into their queues, due as given or as
	// they were. Claim sees them when it returns. A crash may lose the new due time, never the delivery. Deliveries
	// keep their attempts and saved request. Ids that are neither claimed nor taken are ignored.
	Unclaim(ctx context.Context, back []Unclaimed) error

	// Record submits results for a commit soon after (within a few milliseconds) and returns without waiting for it;
	// it blocks only while too much is uncommitted. A result whose commit fails is tried again until the store closes;
	// what was never committed is found queued after a restart. Results for deliveries that the store does not know,
	// or that are neither claimed nor taken, are ignored (but their OnCommit is called). The slice is the caller's again
	// when it returns, what the results refer to is not.
	Record(ctx context.Context, results []Result) error

	// Flush waits until everything submitted before it is committed.
	Flush(ctx context.Context) error

	// Queues lists the webhooks that have queued deliveries, with the due time of the earliest; HoldQueue included.
	Queues(ctx context.Context) iter.Seq2[QueueHead, error]

	// Requeue queues finished deliveries once more, due at now, as an operator's retry: attempts are counted on, the
	// saved request is used where it is still there. Claim sees them when it returns. It returns how many could be:
	// those that have left the history cannot, nor those still pending, nor those of the HoldQueue.
	Requeue(ctx context.Context, ids []sidehook.DeliveryID, now time.Time) (int, error)

	// Hasten makes a delivery that waits in its queue for a later time due at now; Claim sees it when it returns. It is
	// false for one that does not wait there: being attempted, finished, unknown, or of the HoldQueue.
	Hasten(ctx context.Context, id sidehook.DeliveryID, now time.Time) (bool, error)

	// PutBacks lists the queued deliveries of a webhook that were attempted before, or put back with a due time, in the
	// order of Claim; perhaps others that do not wait where they were put when their event was accepted. It is one moment.
	PutBacks(ctx context.Context, key sidehook.WebhookKey) iter.Seq2[PutBack, error]

	// Deliveries lists deliveries from the history and the queues, newest first, by the query. A page. Deliveries of
	// the HoldQueue are not listed.
	Deliveries(ctx context.Context, q Query) (Page, error)

	// Delivery gives one delivery with its attempts, oldest first; sidehook.ErrNotFound when it has left the history.
	Delivery(ctx context.Context, id sidehook.DeliveryID) (*DeliveryInfo, error)

	// Stats counts what the store holds. Cheap enough to call every second.
	Stats() Stats

	// Close commits what was submitted, then closes. Later calls return ErrClosed.
	Close() error
}

// Batch is events to append together. The caller fills Entries; the store fills their outputs, calls OnCommit, and
// then makes Done ready.
type Batch struct {
	Entries []Entry
	// OnCommit, when set, is called once the batch is durable, before Done, by the goroutine that commits, in commit
	// order. It must be quick and must not call the store.
	OnCommit func(*Batch)
	// OnFail, when set, is called instead of OnCommit, in the same way, when the batch could not be stored.
	OnFail func(*Batch)

	done chan struct{}
	err  error
}

// Entry is one event with the deliveries it causes.
type Entry struct {
	// Event to store; it must not be changed any more.
	Event *sidehook.Event
	// Deliveries it causes. An entry without any is only remembered for dedupe.
	Deliveries []Placement
	// SkipDedupe stores the event even if its id was seen: for events that come off the HoldQueue.
	SkipDedupe bool

	// Duplicate is an output: an event with this app and id was appended within the dedupe window, so this one was not
	// stored and its Deliveries have no id.
	Duplicate bool
}

// Placement is one delivery of an Entry and where it goes.
type Placement struct {
	Webhook sidehook.WebhookKey
	// Queued puts it into the webhook's durable queue. False: the caller takes it as soon as the batch is done.
	Queued bool
	// DueAt is when it is due, with Queued; zero for at once.
	DueAt time.Time

	// ID is an output.
	ID sidehook.DeliveryID
}

// NewBatch makes a batch of entries.
func NewBatch(entries []Entry) *Batch {
	return &Batch{Entries: entries, done: make(chan struct{})}
}

// Done is closed when the batch is durable or has failed.
func (b *Batch) Done() <-chan struct{} { return b.done }

// Err says why the batch failed, nil when it is durable. Only valid after Done. When it is set nothing of the batch
// is stored.
func (b *Batch) Err() error { return b.err }

// Wait waits for Done and returns Err, or ctx's cause; then the batch may still become durable.
func (b *Batch) Wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Finish is for implementations, which call it exactly once for each batch that Append took: it sets Err, calls
// OnCommit or OnFail, and closes Done.
func (b *Batch) Finish(err error) {
	b.err = err
	call := b.OnCommit
	if err != nil {
		call = b.OnFail
	}
	if call != nil {
		call(b)
	}
	close(b.done)
}

// Claimed is a delivery taken from a queue.
type Claimed struct {
	ID      sidehook.DeliveryID
	Webhook sidehook.WebhookKey
	// Event is always complete: a pending delivery keeps its event.
	Event *sidehook.Event
	// AcceptedAt is when its event became durable, DueAt when it was due: the same unless it was queued or put back for
	// another time.
	AcceptedAt, DueAt time.Time
	// Attempts made so far.
	Attempts int
	// FirstAt is when the first attempt began, zero before it.
	FirstAt time.Time
	// Saved is the request body as first sent, nil before the first attempt failed.
	Saved *SavedRequest
}

// SavedRequest is what every retry of a delivery sends again: the same body under the same media type. Timestamp and
// signature are made afresh.
type SavedRequest struct {
	Body        []byte
	ContentType string
	// Headers that a transformer or the format added; signatures are not among them.
	Headers []sidehook.Header
}

// Unclaimed is a delivery put back unattempted.
type Unclaimed struct {
	ID      sidehook.DeliveryID
	Webhook sidehook.WebhookKey
	// DueAt is when it is due again; zero for its due time from before it was claimed, or when its event was accepted
	// if it was taken.
	DueAt time.Time
}

// Result is what became of a claimed or taken delivery.
type Result struct {
	ID      sidehook.DeliveryID
	Webhook sidehook.WebhookKey
	// State after the attempt; Pending queues the delivery again, due at DueAt (zero for at once).
	State sidehook.DeliveryState
	DueAt time.Time
	// Attempt is kept in the history and counted; nil for a delivery that ends or waits without one.
	Attempt *sidehook.Attempt
	// Save keeps the request for the next attempts, with State Pending, when it was not saved before.
	Save *SavedRequest
	// OnCommit, when set, is called once the result is durable, by the goroutine that commits; quick, and not calling
	// the store.
	OnCommit func()
}

// QueueHead is a webhook with queued deliveries.
type QueueHead struct {
	Webhook sidehook.WebhookKey
	// NextDue is when the earliest is due.
	NextDue time.Time
}

// Query selects deliveries. Zero fields select everything.
type Query struct {
	App     string
	Webhook string // within App
	State   *sidehook.DeliveryState
	// Type of event, exact.
	Type string
	// Since (inclusive) and Until (exclusive) bound when the event was accepted.
	Since, Until time.Time
	// Limit is the page's size: 1 to 1000, default 50.
	Limit int
	// Cursor continues after an earlier page; empty for the first.
	Cursor string
}

// Page is a page of deliveries, newest first.
type Page struct {
	Deliveries []DeliveryInfo
	// Next continues the list; empty at its end.
	Next string
}

// DeliveryInfo describes a delivery for people.
type DeliveryInfo struct {
	ID        sidehook.DeliveryID
	Webhook   sidehook.WebhookKey
	EventID   string
	EventType string
	// AcceptedAt is when its event became durable.
	AcceptedAt time.Time
	State      sidehook.DeliveryState
	// NextAttempt is set while State is Pending and an attempt is scheduled.
	NextAttempt time.Time
	// AttemptCount made so far, those that have left the history included.
	AttemptCount int
	// Attempts, oldest first: all in the history from Delivery; the last one only, when there is one, in a Page.
	Attempts []sidehook.Attempt
	// Event is set by Delivery only.
	Event *sidehook.Event
	// Saved is set by Delivery only, while the saved request is still there.
	Saved *SavedRequest
}

// Stats counts what a store holds.
type Stats struct {
	// Pending deliveries: queued, claimed and taken. Held events count.
	Pending int64
	// Held events: those in HoldQueue.
	Held int64
	// OldestPending is when the event of the oldest pending delivery was accepted; zero for none.
	OldestPending time.Time
	// Bytes the queue and the history take, as far as known.
	Bytes int64
	// HistoryBytes is the part that the history takes.
	HistoryBytes int64
	// Commits so far.
	Commits int64
}
