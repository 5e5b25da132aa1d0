package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxSenders is how many calls of one process are under way at once.
	maxSenders = 4
	// fullEnough is how many items must wait, for each call under way, for one more to be sent beside them at once.
	fullEnough = 32
	// slowCall is how long items wait for calls under way before one more is sent beside them in any case.
	slowCall = time.Millisecond
	// maxBatch is how many items one call carries.
	maxBatch = 64
	// maxBatchBytes is how many bytes of event data one call carries, unless its first item alone has more.
	maxBatchBytes = 1 << 20
	// maxQueue is how many items may wait.
	maxQueue = 4096
	// maxReceive bounds one answer of the process in bytes.
	maxReceive = 8 << 20
	// endTime is how long a broken connection waits for the end of the process, which explains it.
	endTime = time.Second
)

// call is one item on its way through the queue.
type call struct {
	item   *transformv1.TransformItem
	since  time.Time
	answer chan outcome // has room for the one answer
}

// outcome is what became of a call: a result to be checked, or an error for the caller of Transform.
type outcome struct {
	result *transformv1.TransformResult
	err    error
}

// sending is the queue of a unit and what limits it; unit.mu guards it.
//
// Invariant: a suspect (suspects.go) is under way alone: it is not sent while anything else is, and nothing else is sent
// while it is.
type sending struct {
	queue    []*call
	senders  int
	underWay int
	solo     bool        // the item under way is a suspect
	nudge    *time.Timer // lets dispatch start a sender for few items; nil when not set
}

// batch is what one call of the process carries.
type batch struct {
	calls []*call
	solo  bool
}

// transform is Host.Transform for this unit.
func (u *unit) transform(ctx context.Context, e *sidehook.Event, w *sidehook.Webhook) (*sidehook.Transformed, error) {
	u.count.calls.Add(1)
	c := &call{item: itemToProto(e, w), since: time.Now(), answer: make(chan outcome, 1)}
	o := u.ask(ctx, c)
	if o.err == nil {
		return u.conclude(e, o.result)
	}
	if errors.Is(o.err, sidehook.ErrTransformerUnavailable) {
		u.count.unavailable.Add(1)
	} else {
		u.count.failed.Add(1)
	}
	return nil, o.err
}

func (u *unit) ask(ctx context.Context, c *call) outcome {
	if err := u.enqueue(c); err != nil {
		return outcome{err: unavailable(u.spec.Name, err)}
	}
	select {
	case o := <-c.answer:
		return o
	case <-ctx.Done():
		u.withdraw(c)
		return outcome{err: unavailable(u.spec.Name, context.Cause(ctx))}
	}
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
		c.answer <- outcome{err: err}
	}
	u.queue = nil
	if u.nudge != nil && u.nudge.Stop() {
		u.nudge = nil
	}
}

// dispatchLocked starts senders while items wait and the limits allow. The first starts at once; the others only for
// many items, or when the calls under way prove slow, because full batches cost less.
func (u *unit) dispatchLocked() {
	for u.current != nil && len(u.queue) > 0 && u.senders < maxSenders {
		if len(u.queue) < fullEnough*u.senders {
			u.setNudgeLocked()
			return
		}
		if !u.startSenderLocked() {
			return
		}
	}
}

func (u *unit) startSenderLocked() bool {
	i, b := u.current, u.pickLocked()
	if len(b.calls) == 0 {
		return false
	}
	u.senders++
	i.senders.Go(func() { u.send(i, b) })
	return true
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
		if u.current != nil && len(u.queue) > 0 && u.senders < maxSenders && u.startSenderLocked() {
			u.dispatchLocked()
		}
	})
}

// pickLocked takes the next batch from the queue and counts it as under way. Items that have waited for longer than the
// timeout are answered instead.
func (u *unit) pickLocked() (b batch) {
	now := time.Now()
	taken, size := 0, 0
	for _, c := range u.queue {
		if u.solo || b.solo || len(b.calls) == maxBatch {
			break
		}
		if now.Sub(c.since) > u.spec.Timeout {
			c.answer <- outcome{err: unavailable(u.spec.Name, fmt.Errorf("it was not free within %s", u.spec.Timeout))}
			taken++
			continue
		}
		data := len(c.item.GetEvent().GetData())
		if len(b.calls) > 0 && size+data > maxBatchBytes {
			break
		}
		if u.suspects.has(keyOf(c)) {
			if u.underWay+len(b.calls) > 0 {
				break // its turn comes when the others are done
			}
			b.solo = true
		}
		b.calls = append(b.calls, c)
		size += data
		taken++
	}
	clear(u.queue[:taken])
	u.queue = u.queue[taken:]
	u.underWay += len(b.calls)
	u.solo = u.solo || b.solo
	return b
}

// send carries batches until none waits.
func (u *unit) send(i *instance, b batch) {
	for len(b.calls) > 0 {
		u.exchange(i, b)
		b = u.sent(i, b)
	}
}

// sent books a batch as done and takes the next; without one the sender ends.
func (u *unit) sent(i *instance, done batch) batch {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.underWay -= len(done.calls)
	if done.solo {
		u.solo = false
	}
	var next batch
	if u.current == i {
		next = u.pickLocked()
	}
	if len(next.calls) == 0 {
		u.senders--
	}
	u.dispatchLocked() // a suspect may have held up the others
	return next
}

// exchange is one call of the process. Every item of the batch gets its answer.
func (u *unit) exchange(i *instance, b batch) {
	req := &transformv1.TransformRequest{Items: make([]*transformv1.TransformItem, len(b.calls))}
	for n, c := range b.calls {
		req.Items[n] = c.item
	}
	ctx, cancel := context.WithTimeout(i.ctx, u.spec.Timeout)
	resp, err := i.client.Transform(ctx, req)
	cancel()
	if err != nil {
		u.trouble(i, b, err)
		return
	}
	i.timeouts.Store(0)
	i.heard.Add(1)
	u.count.batches.Add(1)
	results := resp.GetResults()
	if len(results) != len(b.calls) {
		answerAll(b.calls, u.failure("bad result: it answered %d results to %d items", len(results), len(b.calls)))
		return
	}
	for n, c := range b.calls {
		u.suspects.acquit(keyOf(c))
		c.answer <- outcome{result: results[n]}
	}
}

func answerAll(calls []*call, err error) {
	for _, c := range calls {
		c.answer <- outcome{err: err}
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
