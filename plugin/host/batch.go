package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"github.com/sidehook/sidehook/internal/wire"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxSenders is how many calls of one process are under way at once.
	maxSenders = 4
	// fullEnough is how many items must wait, for each call under way, for one more to be sent beside them at once.
	fullEnough = 64
	// slowCall is how long items wait for calls under way before one more is sent beside them in any case.
	slowCall = time.Millisecond
	// maxBatch is how many items one call carries. quickBatch is how many it may when they should take no more than a part
	// in quickShare of the timeout.
	maxBatch   = 64
	quickBatch = 128
	quickShare = 4
	// maxBatchBytes is how many bytes of event data one call carries, unless its first item alone has more.
	maxBatchBytes = 1 << 20
	// maxQueue is how many items may wait.
	maxQueue = 4096
	// maxReceive bounds one answer of the process in bytes.
	maxReceive = 8 << 20
	// endTime is how long a broken connection waits for the end of the process, which explains it.
	endTime = time.Second
)

// call is one item on its way through the queue. Whoever answers it does not touch it any more.
type call struct {
	unit                   *unit
	event                  *sidehook.Event
	webhook                *sidehook.Webhook
	eventSize, webhookSize int // on the wire
	since                  time.Time

	result result // to be checked, when err is nil
	err    error  // for the caller of Transform
	done   chan struct{}
}

// calls are used again: without that they are a good part of what a delivery with a transformer leaves to the collector.
var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

func (u *unit) newCall(e *sidehook.Event, w *sidehook.Webhook) *call {
	c := calls.Get().(*call)
	c.unit, c.event, c.webhook, c.since = u, e, w, time.Now()
	c.measure()
	return c
}

// release gives back a call that was answered and waited for: nobody else knows it.
func (c *call) release() {
	*c = call{done: c.done}
	calls.Put(c)
}

func (c *call) answer(r result) {
	c.result = r
	c.done <- struct{}{} // has room for the one answer
}

func (c *call) fail(err error) {
	c.err = err
	c.done <- struct{}{}
}

// sending is the queue of a unit and what limits it; unit.mu guards it.
//
// Invariant: a suspect (suspects.go) is under way alone: it is not sent while anything else is, and nothing else is sent
// while it is.
type sending struct {
	queue    []*call
	senders  int
	underWay int
	picking  bool        // a sender has begun that has not picked its batch yet
	solo     bool        // the item under way is a suspect
	nudge    *time.Timer // lets dispatch start a sender for few items; nil when not set
}

// batch is what one call of the process carries.
type batch struct {
	calls []*call
	solo  bool
}

// begin is Host.Begin for this unit.
func (u *unit) begin(e *sidehook.Event, w *sidehook.Webhook) *call {
	u.count.calls.Add(1)
	c := u.newCall(e, w)
	if err := u.enqueue(c); err != nil {
		c.fail(unavailable(u.spec.Name, err))
	}
	return c
}

// Wait implements sidehook.Transforming. The call is used up by it.
func (c *call) Wait(ctx context.Context) (*sidehook.Transformed, error) {
	u := c.unit
	select {
	case <-c.done:
	case <-ctx.Done():
		u.withdraw(c)
		u.count.unavailable.Add(1)
		return nil, unavailable(u.spec.Name, context.Cause(ctx)) // c may be under way, and is not used again
	}
	e, r, err := c.event, c.result, c.err
	c.release()
	switch {
	case err == nil:
		return u.conclude(e, &r)
	case errors.Is(err, sidehook.ErrTransformerUnavailable):
		u.count.unavailable.Add(1)
	default:
		u.count.failed.Add(1)
	}
	return nil, err
}

// ahead is Host.Ahead for this unit.
func (u *unit) ahead(e *sidehook.Event, w *sidehook.Webhook) *call {
	if u.isBusy() {
		return nil
	}
	return u.begin(e, w)
}

// isBusy reports whether one item more would wait long behind the others. Of a process that is not known yet a batch is
// expected to be no trouble.
func (u *unit) isBusy() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	waiting := len(u.queue) + u.underWay
	if u.perItem.Load() == 0 {
		return waiting >= maxBatch
	}
	return !u.isQuick(waiting + 1)
}

// isQuick reports whether so many items should be answered in a part of the timeout.
func (u *unit) isQuick(items int) bool {
	return time.Duration(int64(items)*u.perItem.Load()) <= u.spec.Timeout/quickShare
}

func (u *unit) enqueue(c *call) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.current == nil {
		return stateError(&u.stat, nil)
	}
	if len(u.queue) >= maxQueue {
		return fmt.Errorf("%d items wait for it already", maxQueue)
	}
	u.queue = append(u.queue, c)
	u.dispatchLocked()
	return nil
}

// withdraw takes a call out of the queue whose caller has gone. One under way is left to finish unheard.
func (u *unit) withdraw(c *call) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if i := slices.Index(u.queue, c); i >= 0 {
		u.queue = slices.Delete(u.queue, i, i+1)
	}
}

// open lets calls be sent to a new run of the process.
func (u *unit) open(i *instance) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.current = i
	u.updateLocked(func(s *Status) { s.State, s.PID, s.NextStart = Running, i.proc.PID(), time.Time{} })
}

// close ends the sending and answers what waits; why is nil-safe text for it.
func (u *unit) close(i *instance, why error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.current = nil
	state := Backoff
	if errors.Is(why, sidehook.ErrStopping) {
		state = Stopping
	}
	u.updateLocked(func(s *Status) { s.State = state })
	err := unavailable(u.spec.Name, why)
	for _, c := range u.queue {
		c.fail(err)
	}
	u.queue = nil
	if u.nudge != nil && u.nudge.Stop() {
		u.nudge = nil
	}
}

// dispatchLocked starts a sender when items wait and the limits allow. The first starts at once; the others only for many
// items, or when the calls under way prove slow, because full batches cost less. One that has not picked its batch yet
// comes back here when it has.
func (u *unit) dispatchLocked() {
	switch {
	case u.current == nil || len(u.queue) == 0 || u.picking:
	case u.senders == 0 || u.senders < maxSenders && len(u.queue) >= fullEnough*u.senders:
		u.startSenderLocked()
	case u.senders < maxSenders:
		u.setNudgeLocked()
	}
}

func (u *unit) startSenderLocked() {
	i := u.current
	u.senders++
	u.picking = true
	i.senders.Go(func() { u.send(i) })
}

// setNudgeLocked sees to it that what waits now is sent soon, even if no call returns.
func (u *unit) setNudgeLocked() {
	if u.nudge != nil {
		return
	}
	u.nudge = time.AfterFunc(slowCall, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.nudge = nil
		if u.current != nil && len(u.queue) > 0 && u.senders < maxSenders && !u.picking {
			u.startSenderLocked()
		}
	})
}

// pickLocked takes the next batch from the queue, into room, and counts it as under way. Items that have waited for
// longer than the timeout are answered instead.
func (u *unit) pickLocked(room []*call) batch {
	b := batch{calls: room[:0]}
	now := time.Now()
	taken, size, most := 0, 0, maxBatch
	if u.perItem.Load() > 0 && u.isQuick(quickBatch) {
		most = quickBatch
	}
	for _, c := range u.queue {
		if u.solo || b.solo || len(b.calls) == most {
			break
		}
		if now.Sub(c.since) > u.spec.Timeout {
			c.fail(unavailable(u.spec.Name, fmt.Errorf("it was not free within %s", u.spec.Timeout)))
			taken++
			continue
		}
		if len(b.calls) > 0 && size+len(c.event.Data) > maxBatchBytes {
			break
		}
		if u.suspects.has(keyOf(c)) {
			if u.underWay+len(b.calls) > 0 {
				break // its turn comes when the others are done
			}
			b.solo = true
		}
		b.calls = append(b.calls, c)
		size += len(c.event.Data)
		taken++
	}
	u.queue = slices.Delete(u.queue, 0, taken)
	u.underWay += len(b.calls)
	u.solo = u.solo || b.solo
	return b
}

// send carries batches until none waits that is worth a call of its own.
func (u *unit) send(i *instance) {
	// Whoever is about to ask, asks first: under load that makes one batch of many items.
	runtime.Gosched()
	b := u.first(i)
	for len(b.calls) > 0 {
		u.exchange(i, b)
		b = u.sent(i, b)
	}
}

// first picks the batch that a sender begins with; without one the sender ends.
func (u *unit) first(i *instance) (b batch) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.picking = false
	if u.current == i {
		b = u.pickLocked(make([]*call, 0, quickBatch))
	}
	if len(b.calls) == 0 {
		u.senders--
		return b
	}
	u.dispatchLocked()
	return b
}

// sent books a batch as done and picks the next; without one the sender ends. So it does when the others can be expected
// to carry what waits, as few senders with full batches cost less than many; the nudge looks after those that wait.
func (u *unit) sent(i *instance, done batch) (next batch) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.underWay -= len(done.calls)
	if done.solo {
		u.solo = false
	}
	clear(done.calls)
	if u.current == i && len(u.queue) >= fullEnough*(u.senders-1) {
		next = u.pickLocked(done.calls)
	}
	if len(next.calls) == 0 {
		u.senders--
	}
	u.dispatchLocked() // a suspect may have held up the others
	return next
}

// exchange is one call of the process. Every item of the batch gets its answer.
func (u *unit) exchange(i *instance, b batch) {
	a := &answer{asked: b.calls}
	began := time.Now()
	ctx, cancel := context.WithTimeout(i.ctx, u.spec.Timeout)
	err := i.conn.Invoke(ctx, transformv1.TransformerService_Transform_FullMethodName, question(b.calls), a, callOptions...)
	cancel()
	u.perItem.Store(max(1, int64(time.Since(began))/int64(len(b.calls)))) // before anybody gets an answer
	if err != nil {
		u.trouble(i, b, err)
		return
	}
	i.timeouts.Store(0)
	i.heard.Add(1)
	u.count.batches.Add(1)
	if a.count != len(b.calls) {
		answerAll(b.calls, u.failure("bad result: it answered %d results to %d items", a.count, len(b.calls)))
		return
	}
	for n, c := range b.calls {
		u.suspects.acquit(keyOf(c))
		c.answer(a.results[n])
	}
}

// callOptions are those of Transform: its messages write and read themselves.
var callOptions = []grpc.CallOption{grpc.StaticMethod(), grpc.ForceCodecV2(wire.NewCodec())}

func answerAll(calls []*call, err error) {
	for _, c := range calls {
		c.fail(err)
	}
}

func (u *unit) failure(format string, args ...any) error {
	return &sidehook.TransformFailure{Transformer: u.spec.Name, Reason: clip(fmt.Sprintf(format, args...))}
}

// trouble answers a batch whose call failed as a whole.
func (u *unit) trouble(i *instance, b batch, err error) {
	if isTooLarge(err) {
		u.halve(i, b, err)
		return
	}
	why, blame := u.diagnose(i, err)
	answer := unavailable(u.spec.Name, why)
	for _, c := range b.calls {
		switch {
		case !blame:
		case !b.solo:
			u.suspects.add(keyOf(c))
		case u.suspects.strike(keyOf(c), u.count.batches.Load()):
			answer = u.failure("%d times, with this event alone: %v", maxStrikes, why)
		}
	}
	answerAll(b.calls, answer)
}

// diagnose says why a call failed, and whether an event that was under way may be to blame.
func (u *unit) diagnose(i *instance, err error) (why error, blame bool) {
	if cause := context.Cause(i.ctx); cause != nil {
		return cause, false
	}
	code := status.Code(err)
	switch code {
	case codes.DeadlineExceeded: // said by the clock here, or by the SDK a little earlier
		u.count.timeouts.Add(1)
		why := fmt.Errorf("no answer within %s", u.spec.Timeout)
		if n := i.timeouts.Add(1); n >= maxTimeouts {
			i.condemn(fmt.Errorf("%w, %d times in a row; it was killed", why, n))
		}
		return why, true
	case codes.Unavailable, codes.Canceled: // the connection broke, as a rule because the process ended
		timer := time.NewTimer(endTime)
		defer timer.Stop()
		select {
		case <-i.proc.Done():
			return i.proc.Err(), true
		case <-timer.C:
			return err, false
		}
	}
	return fmt.Errorf("it answered %s: %s", code, plain(status.Convert(err).Message())), true
}

// isTooLarge tells gRPC's refusal of a message over the limit, of the answer here or of the question there.
func isTooLarge(err error) bool {
	return status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max")
}

// halve asks again for halves of a batch whose answer was too large, so that only the item to blame fails.
func (u *unit) halve(i *instance, b batch, err error) {
	if len(b.calls) == 1 {
		answerAll(b.calls, u.failure("question or answer is too large: %s", plain(status.Convert(err).Message())))
		return
	}
	half := len(b.calls) / 2
	u.exchange(i, batch{calls: b.calls[:half]})
	u.exchange(i, batch{calls: b.calls[half:]})
}

// stateError says in words why nothing can be asked in that state.
func stateError(s *Status, cause error) error {
	text := "it is " + string(s.State)
	if s.LastError != "" {
		text += "; last: " + s.LastError
	}
	if cause != nil {
		return fmt.Errorf("%s: %w", text, cause)
	}
	return errors.New(text)
}
