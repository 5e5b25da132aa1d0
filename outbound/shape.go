package outbound

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// sharedEvent is an event with what its deliveries have in common, made once whatever the fan-out.
type sharedEvent struct {
	event *sidehook.Event

	mu     sync.Mutex
	shaped []shapedAs // by format, of those that do not look at the webhook; there are few, mostly one
}

// shapedAs is an event in a format.
type shapedAs struct {
	format string
	saved  storage.SavedRequest
}

// request is a delivery as it goes out. saved is what a retry repeats; headers are all of them, until they are sent.
type request struct {
	saved     storage.SavedRequest
	headers   []sidehook.Header
	signature int // which of headers that is
}

// droppedError is a transformer's decision that a delivery is not to be made.
type droppedError struct{ transformer, reason string }

func (e *droppedError) Error() string {
	return strings.TrimSuffix("dropped by transformer "+e.transformer+": "+e.reason, ": ")
}

// shape makes the request's body: the saved one of an earlier attempt, or the event transformed and formatted.
func (e *Engine) shape(r *route, j *job) (*request, error) {
	if j.saved != nil {
		return &request{saved: *j.saved}, nil
	}
	if r.webhook.Transformer == "" {
		saved, err := j.shared.shape(r)
		return &request{saved: saved}, err
	}
	t, err := e.transform(r, j)
	if err != nil {
		return nil, err
	}
	saved, err := shapeEvent(r, t.Event)
	if err != nil {
		return nil, err
	}
	saved.Headers = withHeaders(saved.Headers, t.Headers)
	return &request{saved: saved}, nil
}

// withHeaders adds a transformer's headers to those of the format, which count more: they are part of the body's
// meaning. It does not change what the format gave.
func withHeaders(own, more []sidehook.Header) []sidehook.Header {
	all := own[:len(own):len(own)]
	for _, h := range more {
		if !hasHeader(own, h.Key) {
			all = append(all, h)
		}
	}
	return all
}

// transform asks the webhook's transformer, unless it was asked before.
func (e *Engine) transform(r *route, j *job) (*sidehook.Transformed, error) {
	name := r.webhook.Transformer
	if e.opts.Transformers == nil {
		return nil, fmt.Errorf("transformer %s is not installed: %w", name, sidehook.ErrTransformerUnavailable)
	}
	t, err := e.answered(j, r)
	if t == nil && err == nil {
		t, err = e.opts.Transformers.Begin(name, j.shared.event, r.webhook.Webhook).Wait(e.work)
	}
	switch {
	case err != nil:
		return nil, err
	case t.Drop:
		return nil, &droppedError{transformer: name, reason: t.DropReason}
	case t.Event == nil:
		return nil, errors.New("transformer " + name + " answered without an event")
	}
	return t, nil
}

// shape formats the event once for all webhooks of a format that does not look at the webhook.
func (s *sharedEvent) shape(r *route) (storage.SavedRequest, error) {
	if !r.format.PerEvent() {
		return shapeEvent(r, s.event)
	}
	name := r.format.Name()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.shaped {
		if s.shaped[i].format == name {
			return s.shaped[i].saved, nil
		}
	}
	saved, err := shapeEvent(r, s.event)
	if err != nil {
		return saved, err
	}
	s.shaped = append(s.shaped, shapedAs{name, saved})
	return saved, nil
}

func shapeEvent(r *route, event *sidehook.Event) (storage.SavedRequest, error) {
	shaped, err := r.format.Request(event, r.webhook.Webhook)
	if err != nil {
		return storage.SavedRequest{}, fmt.Errorf("format %s: %w", r.format.Name(), err)
	}
	return storage.SavedRequest{Body: shaped.Body, ContentType: shaped.ContentType, Headers: shaped.Headers}, nil
}
