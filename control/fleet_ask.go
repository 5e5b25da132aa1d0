package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// How long the sidecars may take for their answers.
const (
	readWithin   = 2 * time.Second // lists and single deliveries, of each sidecar
	changeWithin = 5 * time.Second // retry, drain
	replayWithin = time.Minute     // goes through a sidecar's whole history
	// testSpare is how long a test may take beside its attempt.
	testSpare = 10 * time.Second
	// allWithin bounds how long all sidecars of an app may take for a list, however many they are.
	allWithin = 10 * time.Second
)

const (
	maxAsked   = 64  // sidecars that one call asks at a time
	maxMissing = 100 // that an answer names
)

// peer is a connected sidecar.
type peer struct {
	key          sidecarKey
	stream       *fleetStream
	ready, stale bool
	pending      uint64
}

// ask sends a command; a Failure comes back as *SidecarError, as all errors but that of ctx do. given says whether the
// sidecar may have acted on the command.
func (p *peer) ask(ctx context.Context, c *fleetv1.Command, within time.Duration) (answer *fleetv1.Answer, given bool, err error) {
	answer, given, err = p.stream.ask(ctx, c, within)
	switch {
	case errors.Is(err, ErrSidecarSlow):
		return nil, given, &SidecarError{Sidecar: p.key.id, Reason: fmt.Sprintf("did not answer within %s", within), Err: err}
	case errors.Is(err, ErrBusy):
		return nil, given, &SidecarError{
			Sidecar: p.key.id, Reason: fmt.Sprintf("has %d commands to answer already", maxCommands), Err: err,
		}
	case err != nil && ctx.Err() != nil:
		return nil, given, err
	case err != nil:
		return nil, given, p.failed(err)
	}
	if f := answer.GetFailure(); f != nil {
		return nil, given, p.failure(f)
	}
	return answer, given, nil
}

// noSidecarError is ErrNoSidecar for an app.
type noSidecarError struct{ app string }

func (e *noSidecarError) Error() string { return "no sidecar of app " + e.app + " is connected" }

func (e *noSidecarError) Is(target error) bool { return target == ErrNoSidecar }

// peers returns the connected sidecars of an app by id, and those that went away and are still remembered.
func (f *Fleet) peers(app string) (connected []peer, away []MissingSidecar, err error) {
	if !sidehook.ValidName(app) {
		return nil, nil, sidehook.Fieldf("app", "must be 1 to %d of A-Z a-z 0-9 _ -", sidehook.MaxNameLen)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, nil, sidehook.ErrStopping
	}
	f.forget(f.opts.Now())
	here := make(map[string]bool)
	for key, state := range f.sidecars {
		if state.stream == nil || !slices.Contains(state.info.Apps, app) {
			continue
		}
		here[key.id] = true
		connected = append(connected, peer{
			key: key, stream: state.stream, ready: state.info.Ready, stale: state.info.Stale, pending: state.info.Pending,
		})
	}
	if len(connected) == 0 {
		return nil, nil, &noSidecarError{app}
	}
	for key, state := range f.sidecars {
		// One that is here with another token is the same: it shows its token in place of an earlier one.
		if state.stream == nil && !here[key.id] && slices.Contains(state.info.Apps, app) {
			away = append(away, MissingSidecar{
				ID:     key.id,
				Reason: "is not connected since " + state.info.LastSeen.UTC().Format(time.RFC3339),
			})
		}
	}
	slices.SortFunc(connected, func(a, b peer) int { return a.key.compare(b.key) })
	return connected, away, nil
}

// each calls do for the peers, some at a time, and waits for all.
func each(peers []peer, do func(p *peer)) {
	var group errgroup.Group
	group.SetLimit(maxAsked)
	for i := range peers {
		group.Go(func() error {
			do(&peers[i])
			return nil
		})
	}
	_ = group.Wait() // do returns nothing
}

// silence collects the sidecars that were not heard.
type silence struct {
	mu      sync.Mutex
	failed  []*SidecarError
	missing []MissingSidecar
}

func (s *silence) add(p *peer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := p.failed(err)
	s.failed = append(s.failed, e)
	s.missing = append(s.missing, MissingSidecar{ID: p.key.id, Reason: e.Reason})
}

// list returns who is missing, by id.
func (s *silence) list(away []MissingSidecar) []MissingSidecar {
	slices.SortFunc(s.missing, func(a, b MissingSidecar) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(away, func(a, b MissingSidecar) int { return cmp.Compare(a.ID, b.ID) })
	all := append(s.missing, away...)
	return all[:min(maxMissing, len(all))]
}

// worst is the failure to tell when nobody could: the first, by id.
func (s *silence) worst() *SidecarError {
	return slices.MinFunc(s.failed, func(a, b *SidecarError) int { return cmp.Compare(a.Sidecar, b.Sidecar) })
}

// Deliveries lists an app's deliveries, newest first, a page. Bad input gives a *sidehook.FieldError, an app without a
// connected sidecar ErrNoSidecar, trouble with all of them a *SidecarError.
//
// A page can be shorter than its limit without being the last: only an empty Next ends the list.
func (f *Fleet) Deliveries(ctx context.Context, q DeliveryQuery) (*DeliveryPage, error) {
	m, err := q.begin()
	if err != nil {
		return nil, err
	}
	peers, away, err := f.peers(q.App)
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeoutCause(ctx, allWithin, ErrSidecarSlow)
	defer cancel()
	var silent silence
	each(peers, func(p *peer) {
		list, more, err := p.list(asking, q.command(m, p.key))
		if err != nil {
			silent.add(p, err)
			return
		}
		m.add(p.key, list, more)
	})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case len(silent.failed) == len(peers):
		return nil, silent.worst()
	}
	page := m.page()
	page.Missing = silent.list(away)
	return page, nil
}

// begin checks the query.
func (q *DeliveryQuery) begin() (*merging, error) {
	limit, err := q.Page.listLimit()
	if err != nil {
		return nil, err
	}
	m := &merging{limit: limit}
	if q.Page.Cursor != "" {
		if m.after, err = parseCursor(q.Page.Cursor); err != nil {
			return nil, err
		}
	}
	switch {
	case q.Webhook != "" && !sidehook.ValidName(q.Webhook):
		return nil, sidehook.Fieldf("webhook", "must be the id of a webhook")
	case q.EventType != "" && !sidehook.ValidEventType(q.EventType):
		return nil, errEventType()
	}
	return m, checkSpan(q.Since, q.Until)
}

func errEventType() error {
	return sidehook.Fieldf("event_type", "must be 1 to %d of A-Z a-z 0-9 _ . : / -", sidehook.MaxEventTypeLen)
}

// command is what a sidecar is asked for.
func (q *DeliveryQuery) command(m *merging, sidecar sidecarKey) *fleetv1.ListDeliveries {
	c := &fleetv1.ListDeliveries{
		App: q.App, Webhook: q.Webhook, EventType: q.EventType, Since: timestamp(q.Since), Until: timestamp(q.Until),
		Limit: uint32(m.limit),
	}
	if q.State != nil {
		c.State = stateOf(*q.State)
	}
	if m.after != nil {
		m.after.continueAfter(c, sidecar)
	}
	return c
}

// list asks one sidecar for a page. One that does not serve the app or know the webhook has none.
func (p *peer) list(ctx context.Context, q *fleetv1.ListDeliveries) (list []Delivery, more bool, err error) {
	if q.Since != nil && q.Until != nil && !q.Since.AsTime().Before(q.Until.AsTime()) {
		return nil, false, nil // the pages before this one went past since
	}
	answer, _, err := p.ask(ctx, &fleetv1.Command{Ask: &fleetv1.Command_ListDeliveries{ListDeliveries: q}}, readWithin)
	if errors.Is(err, sidehook.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	page := answer.GetDeliveryList()
	if page == nil {
		return nil, false, errOtherThanAsked
	}
	list, err = deliveryList(p.key.id, q, page)
	return list, page.GetMore(), err
}

// first asks all sidecars of an app and returns what the first gives that has the delivery; the others are then left
// alone.
func first[T any](ctx context.Context, f *Fleet, app string, id sidehook.DeliveryID, ask func(context.Context, *peer) (T, error)) (T, error) {
	var none T
	peers, _, err := f.peers(app)
	if err != nil {
		return none, err
	}
	asking, cancel := context.WithTimeoutCause(ctx, allWithin, ErrSidecarSlow)
	defer cancel()
	var silent silence
	found := make(chan T, 1)
	each(peers, func(p *peer) {
		got, err := ask(asking, p)
		switch {
		case err == nil:
			select {
			case found <- got:
			default: // ids are of one sidecar; whoever answers second is wrong
			}
			cancel()
		case !errors.Is(err, sidehook.ErrNotFound):
			silent.add(p, err)
		}
	})
	select {
	case got := <-found:
		return got, nil
	default:
	}
	switch {
	case ctx.Err() != nil:
		return none, context.Cause(ctx)
	case len(silent.failed) > 0:
		return none, silent.worst()
	}
	return none, fmt.Errorf("the connected sidecars of app %s have no delivery %s: %w", app, id, sidehook.ErrNotFound)
}

// Delivery gives one delivery of an app with its attempts. Errors are sidehook.ErrNotFound when no connected sidecar has
// it, ErrNoSidecar, or a *SidecarError when one could not say.
func (f *Fleet) Delivery(ctx context.Context, app string, id sidehook.DeliveryID) (*Delivery, error) {
	return first(ctx, f, app, id, func(ctx context.Context, p *peer) (*Delivery, error) {
		answer, _, err := p.ask(ctx, &fleetv1.Command{Ask: &fleetv1.Command_GetDelivery{
			GetDelivery: &fleetv1.GetDelivery{App: app, Id: id.String()},
		}}, readWithin)
		if err != nil {
			return nil, err
		}
		d, err := deliveryOf(p.key.id, app, answer.GetDelivery())
		if err == nil && d.ID != id {
			err = errOtherThanAsked
		}
		return d, err
	})
}

// Retry attempts a delivery once more, at once. Errors as of Delivery, and ErrSidecarRefused as a *SidecarError.
func (f *Fleet) Retry(ctx context.Context, app string, id sidehook.DeliveryID) error {
	_, err := first(ctx, f, app, id, func(ctx context.Context, p *peer) (struct{}, error) {
		answer, _, err := p.ask(ctx, &fleetv1.Command{Ask: &fleetv1.Command_RetryDelivery{
			RetryDelivery: &fleetv1.RetryDelivery{App: app, Id: id.String()},
		}}, changeWithin)
		if err == nil && answer.GetRetried() == nil {
			err = errOtherThanAsked
		}
		return struct{}{}, err
	})
	return err
}

// Replay queues finished deliveries of a webhook once more, on all sidecars of its app. Errors are ErrNoSidecar, a
// *sidehook.FieldError, or a *SidecarError when no sidecar could.
func (f *Fleet) Replay(ctx context.Context, r Replay) (*Replayed, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	peers, away, err := f.peers(r.Webhook.App)
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeoutCause(ctx, replayWithin+allWithin, ErrSidecarSlow)
	defer cancel()
	var silent silence
	var mu sync.Mutex
	result := &Replayed{}
	each(peers, func(p *peer) {
		answer, given, err := p.ask(asking, &fleetv1.Command{Ask: &fleetv1.Command_ReplayDeliveries{
			ReplayDeliveries: r.command(),
		}}, replayWithin)
		switch {
		case errors.Is(err, sidehook.ErrNotFound): // it has none of that webhook
			return
		case err == nil && answer.GetReplayed() == nil:
			err = errOtherThanAsked
		}
		if err != nil {
			silent.add(p, unsure(p, err, given, "some may be queued"))
			return
		}
		mu.Lock()
		defer mu.Unlock()
		result.Deliveries += int(answer.GetReplayed().GetDeliveries())
	})
	if len(silent.failed) == len(peers) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, silent.worst()
	}
	result.Missing = silent.list(away)
	return result, nil
}

// unsure says of a sidecar that got a command and did not answer what may have come of it.
func unsure(p *peer, err error, given bool, what string) error {
	if !given || !errors.Is(err, ErrSidecarSlow) && !errors.Is(err, ErrSidecarGone) {
		return err
	}
	e := *p.failed(err)
	e.Reason += "; " + what
	return &e
}

func (r *Replay) check() error {
	switch {
	case !validWebhookKey(r.Webhook):
		return sidehook.Fieldf("webhook", "must be the id of a webhook")
	case r.EventType != "" && !sidehook.ValidEventType(r.EventType):
		return errEventType()
	}
	for i, s := range r.States {
		if !s.Final() || stateOf(s) == fleetv1.DeliveryState_DELIVERY_STATE_UNSPECIFIED {
			return sidehook.Fieldf(fmt.Sprintf("states[%d]", i), "must be delivered, dead or dropped")
		}
	}
	return checkSpan(r.Since, r.Until)
}

func (r *Replay) command() *fleetv1.ReplayDeliveries {
	c := &fleetv1.ReplayDeliveries{
		App: r.Webhook.App, Webhook: r.Webhook.ID, EventType: r.EventType, Since: timestamp(r.Since), Until: timestamp(r.Until),
	}
	for _, s := range r.States {
		c.States = append(c.States, stateOf(s))
	}
	return c
}
