package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Bounds of live streams. A browser has one for each page that is open and visible.
const (
	maxStreams        = 1000
	maxSessionStreams = 8
	heartbeat         = 15 * time.Second
	streamWriteWithin = 10 * time.Second
	// quiet is the least time between two news of a stream.
	quiet = 500 * time.Millisecond
)

var errClosing = errors.New("console is closing")

func newStreams() *streams {
	s := &streams{bySess: make(map[string]int)}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// enter takes a place for a stream of a session; leave gives it back. ok is false when there is none.
func (s *streams) enter(session string) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.all >= maxStreams || s.bySess[session] >= maxSessionStreams {
		return nil, false
	}
	s.all++
	s.bySess[session]++
	s.running.Add(1)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.bySess[session]--; s.bySess[session] == 0 {
			delete(s.bySess, session)
		}
		s.running.Done()
	}, true
}

func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel(errClosing)
	s.running.Wait()
}

// Names of what changes, as pages know them (data-live).
const (
	liveWebhooks   = "webhooks"
	liveDeliveries = "deliveries"
	liveSidecars   = "sidecars"
)

// live tells a page what has changed of its app, or of all apps where the path has none, as server-sent events whose
// names say what. It ends with the session.
func (c *Console) live(v *visit) error {
	leave, ok := c.streams.enter(v.session)
	if !ok {
		return errTooManyStreams
	}
	defer leave()
	ctx, cancel := context.WithCancelCause(v.r.Context())
	defer cancel(nil)
	defer context.AfterFunc(c.streams.ctx, func() { cancel(errClosing) })()

	s := &stream{v: v, ctl: http.NewResponseController(v.w)}
	// The server's limit on reading a request is not for one that lasts.
	if err := s.ctl.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("live stream: %w", err)
	}
	v.w.Header().Set("Content-Type", "text/event-stream")
	app := v.r.PathValue("app")
	stored, fleet := c.svc.Changes(ctx, app), c.fleet.Changes(ctx, app)
	if err := s.write("retry: 3000\nevent: open\ndata:\n\n"); err != nil {
		return nil // the reader has gone
	}
	s.run(ctx, stored, fleet)
	return nil
}

// stream is one live stream.
type stream struct {
	v       *visit
	ctl     *http.ResponseController
	waiting []string // news held back until quiet has passed
}

// run passes news on until something ends.
func (s *stream) run(ctx context.Context, stored, fleet <-chan struct{}) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	rest := time.NewTimer(0) // runs out when news may be sent again
	defer rest.Stop()
	resting := true
	for {
		var ok bool
		select {
		case _, ok = <-stored:
			s.note(liveWebhooks)
		case _, ok = <-fleet:
			s.note(liveDeliveries, liveSidecars)
		case <-rest.C:
			ok, resting = true, false
		case <-beat.C:
			ok = s.beat()
		case <-ctx.Done():
		}
		if !ok {
			return
		}
		if resting || len(s.waiting) == 0 {
			continue
		}
		if !s.tell() {
			return
		}
		resting = true
		rest.Reset(quiet)
	}
}

func (s *stream) note(names ...string) {
	for _, name := range names {
		known := false
		for _, w := range s.waiting {
			known = known || w == name
		}
		if !known {
			s.waiting = append(s.waiting, name)
		}
	}
}

// tell sends what waits and reports whether the stream goes on.
func (s *stream) tell() bool {
	var text string
	for _, name := range s.waiting {
		text += "event: " + name + "\ndata:\n\n"
	}
	s.waiting = nil
	return s.allowed() && s.write(text) == nil
}

func (s *stream) beat() bool { return s.allowed() && s.write(": still here\n\n") == nil }

// allowed reports whether the session, and its right to the app, still hold.
func (s *stream) allowed() bool {
	again := &visit{c: s.v.c, w: s.v.w, r: s.v.r}
	return again.admit(s.v.access) == nil
}

func (s *stream) write(text string) error {
	if err := s.ctl.SetWriteDeadline(time.Now().Add(streamWriteWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.v.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.ctl.Flush()
}
