package outbound

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/retry"
	"github.com/sidehook/sidehook/outbound/send"
	"github.com/sidehook/sidehook/storage"
)

// deliver is the way of one delivery:
//
//	pace ─ transform ─ format ─ sign ─ POST ─ outcome ─ record
//
// Pacing is done before: the lane hands a delivery to a worker when the endpoint bears one more. Every path ends in
// record and lane.finished, or in lane.putBack when the delivery could not be attempted, or leaves the delivery in the
// store when the engine stops.
func (e *Engine) deliver(l *lane, r *route, j *job) tried {
	began := e.now()
	a := &sidehook.Attempt{Number: j.attempts + 1, At: e.clock.wall(), URL: r.webhook.URL}
	req, err := e.shape(r, j)
	switch {
	case errors.Is(err, sidehook.ErrTransformerUnavailable):
		if e.work.Err() == nil {
			l.putBack(j, err.Error())
		}
		return tried{attempt: a, unmade: err}
	case errors.As(err, new(*droppedError)):
		a.Error = err.Error()
		a.Outcome = sidehook.Outcome{Kind: sidehook.OutcomeDropped}
		return e.conclude(l, r, j, a, nil, neutral)
	case err != nil:
		a.Error = err.Error()
		a.Outcome = decide(r, a, "", true)
		return e.conclude(l, r, j, a, nil, neutral)
	}
	if err := e.sign(a, r, j, req); err != nil {
		l.putBack(j, err.Error())
		return tried{attempt: a, request: req, unmade: err}
	}
	made, cut := e.post(l, r, a, req, began)
	if !made {
		return tried{attempt: a, request: req, unmade: errStopped}
	}
	return e.conclude(l, r, j, a, req, judge(a, cut))
}

// tried is how the turn of a delivery went: the attempt that was recorded, with its request if there was one; or, when
// none was made, why.
type tried struct {
	attempt *sidehook.Attempt
	request *request
	unmade  error
}

// post makes the request and fills the attempt; made is false when the engine gave it up. cut: what came back had no end
// that was worth waiting for.
func (e *Engine) post(l *lane, r *route, a *sidehook.Attempt, req *request, began time.Time) (made, cut bool) {
	x := exchanges.Get().(*exchange)
	resp := &x.resp
	defer func() {
		x.req = send.Request{}
		exchanges.Put(x)
	}()
	x.req = send.Request{URL: r.endpoint, Headers: req.headers, Body: req.saved.Body}
	err := e.opts.Sender.Do(e.work, &x.req, r.webhook.Timeout, resp)
	a.Latency = e.now().Sub(began)
	a.RequestHeaders = req.sent()
	if err != nil && e.work.Err() != nil {
		return false, false // not the endpoint's fault, and not recorded: repeated after the next start
	}
	// A response may have begun, and broken off: what there is of it is recorded with the error.
	a.Status = resp.Status
	if n := min(len(resp.Body), sidehook.MaxRecordedResponse); n > 0 {
		a.Response = append([]byte(nil), resp.Body[:n]...)
	}
	a.Outcome = decide(r, a, resp.RetryAfter, err != nil)
	switch {
	case err != nil:
		a.Error = err.Error()
	case a.Outcome.Kind != sidehook.OutcomeDelivered:
		a.Error = statusText(a.Status)
	}
	return true, resp.Cut
}

// exchange is what a Sender is given; it keeps none of it.
type exchange struct {
	req  send.Request
	resp send.Response
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// decide turns what came back into an outcome.
func decide(r *route, a *sidehook.Attempt, retryAfter string, failed bool) sidehook.Outcome {
	return retry.Decide(retry.Input{
		Now: a.At.Add(a.Latency), Attempt: a.Number, Status: a.Status, Err: failed, RetryAfter: retryAfter,
		Automatic: r.webhook.AutomaticRetry, Schedule: r.webhook.RetrySchedule, Jitter: rand.Float64(),
	})
}

// verdict is what an attempt says about the endpoint, as against about the delivery.
type verdict uint8

const (
	neutral  verdict = iota // says nothing, or that the endpoint is alive
	healthy                 // works
	wasteful                // works, at the price of a connection and of much that is read for nothing: no more than at first
	troubled                // down, slow or overloaded: send it less
	gone                    // 410: does not exist any more
)

func judge(a *sidehook.Attempt, cut bool) verdict {
	switch {
	case a.Outcome.Kind == sidehook.OutcomeDelivered && cut:
		return wasteful
	case a.Outcome.Kind == sidehook.OutcomeDelivered:
		return healthy
	case a.Outcome.Kind == sidehook.OutcomeGone:
		return gone
	case a.Status < 300, a.Status >= 500, a.Status == 408, a.Status == 429: // below 300: no answer, or one that broke off
		return troubled
	}
	return neutral
}

// conclude records an attempt and lets the lane go on.
func (e *Engine) conclude(l *lane, r *route, j *job, a *sidehook.Attempt, req *request, v verdict) tried {
	res := storage.Result{ID: j.id, Webhook: l.key, State: a.Outcome.Kind.State(), Attempt: a}
	if res.State == sidehook.Pending {
		// The same wait on the engine's clock.
		res.DueAt = e.now().Add(a.Outcome.RetryAt.Sub(a.At.Add(a.Latency)))
		if req != nil && j.saved == nil {
			res.Save = &req.saved
		}
	} else if a.Outcome.Kind == sidehook.OutcomeDelivered && !j.test && rand.Float64() >= r.webhook.Sample() {
		res.Attempt = nil // that it was delivered is known all the same
	}
	var behind []storage.Unclaimed
	if j.order != nil && res.State == sidehook.Pending {
		behind = l.block(j, res.DueAt)
	}
	res.OnCommit = l.onCommit(j, res.DueAt)
	one := oneResult.Get().(*[1]storage.Result) // the store keeps the result, not the slice
	one[0] = res
	e.record(l, one[:]...)
	one[0] = storage.Result{}
	oneResult.Put(one)
	e.counters.count(a) // after it was submitted: what is counted can be flushed
	e.opts.Observe(l.key, a)
	l.finished(j, a, v, behind)
	e.opts.OnCount()
	if v == gone {
		e.log.Warn("endpoint answered 410 Gone; the webhook gets nothing more until it is changed", "webhook", l.key)
		e.opts.OnChange()
	}
	return tried{attempt: a, request: req}
}

var oneResult = sync.Pool{New: func() any { return new([1]storage.Result) }}

// onCommit is what the lane does once a result is durable: due is when the delivery is to be tried again, zero if it
// has ended.
func (l *lane) onCommit(j *job, due time.Time) func() {
	switch again := !due.IsZero(); {
	case j.order != nil:
		return func() {
			if again {
				l.noteQueued(due)
			}
			l.endTurn(j)
		}
	case again:
		return func() { l.noteQueued(due) }
	}
	return nil
}

// record submits results; that waits for no context, so that what happened is known after a stop.
func (e *Engine) record(l *lane, results ...storage.Result) {
	if err := e.store.Record(context.Background(), results); err != nil {
		e.log.Error("results could not be recorded; the deliveries will be repeated at the next start",
			"webhook", l.key, "deliveries", len(results), "err", err)
	}
}
