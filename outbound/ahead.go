package outbound

import (
	"errors"
	"sync/atomic"

	"github.com/sidehook/sidehook"
)

// A lane asks its transformer about deliveries that still wait in the ring, so that the answer is there when a worker takes
// them: workers that wait for a transformer post nothing meanwhile, and a call of one costs each delivery the less, the
// more of them it carries.
const (
	// aheadPerSlot is how many deliveries are asked about ahead, for each request that the lane may have in flight.
	aheadPerSlot = 4
	// aheadSteps is in how many steps that window is filled: asking about some together saves the transformer calls.
	aheadSteps = 8
	// maxAsked and maxAskedBytes bound over all lanes how many answers are kept or under way, and the data of their events.
	// What has no room is asked about when a worker takes it.
	maxAsked      = 1024
	maxAskedBytes = 4 << 20
)

// asked counts the jobs that have an answer, and the data of their events in bytes.
type asked struct{ jobs, bytes atomic.Int64 }

// take makes room for an answer; false when there is none.
func (a *asked) take(size int) bool {
	jobs, bytes := a.jobs.Add(1), a.bytes.Add(int64(size))
	if jobs > maxAsked || bytes > maxAskedBytes {
		a.release(size)
		return false
	}
	return true
}

func (a *asked) release(size int) {
	a.jobs.Add(-1)
	a.bytes.Add(-int64(size))
}

// askAhead asks about what is next in the ring; mu is held. It does not when the transformer, or the endpoint, is in
// trouble, nor for a lane that is held to a rate, where answers would grow old, or to an order.
func (l *lane) askAhead() {
	r := l.route
	if r.webhook.Transformer == "" || l.e.opts.Transformers == nil || l.pauses > 0 || l.trouble > 0 || l.order != nil ||
		!l.rateLimit(r).IsZero() {
		return
	}
	most := aheadPerSlot * l.limit
	window := min(l.ring.len(), most)
	next := window
	for next > 0 && l.ring.at(next-1).isUnasked() {
		next--
	}
	if window-next < most/aheadSteps && window < l.ring.len() {
		return
	}
	for ; next < window; next++ {
		if !l.e.ask(l.ring.at(next), r) {
			return
		}
	}
}

// isUnasked reports whether the transformer has yet to be asked about the job, of which no request was made before.
func (j *job) isUnasked() bool { return j.answer == nil && j.saved == nil }

// ask asks a transformer about a job; false when there is no room for the answer, or the transformer has enough to do.
func (e *Engine) ask(j *job, r *route) bool {
	event := j.shared.event
	if !e.asked.take(len(event.Data)) {
		return false
	}
	j.askedBy, j.answer = r, e.opts.Transformers.Ahead(r.webhook.Transformer, event, r.webhook.Webhook)
	if j.answer == nil {
		e.asked.release(len(event.Data))
		return false
	}
	return true
}

// forget lets go of an answer that nobody waits for any more, if there is one.
func (e *Engine) forget(j *job) {
	if j.answer != nil {
		e.asked.release(len(j.shared.event.Data))
		j.askedBy, j.answer = nil, nil
	}
}

// answered waits for what was asked ahead. nil: nothing was, or the webhook has changed, or the transformer was in trouble,
// which may be over.
func (e *Engine) answered(j *job, r *route) (t *sidehook.Transformed, err error) {
	answer, current := j.answer, j.askedBy == r
	if answer == nil {
		return nil, nil
	}
	e.forget(j)
	if !current {
		return nil, nil
	}
	t, err = answer.Wait(e.work)
	if errors.Is(err, sidehook.ErrTransformerUnavailable) {
		return nil, nil
	}
	return t, err
}
