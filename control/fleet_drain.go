package control

import (
	"context"
	"fmt"
	"math"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// Drain makes a sidecar refuse events while it delivers what it has, until it is restarted; pending is how many
// deliveries it has left. Errors are sidehook.ErrNotFound, a *ConflictError where several sidecars have the id, and
// *SidecarError, which is ErrNoSidecar when the sidecar is not connected.
func (f *Fleet) Drain(ctx context.Context, sidecar string) (pending int, err error) {
	p, err := f.named(sidecar)
	if err != nil {
		return 0, err
	}
	answer, _, err := p.ask(ctx, &fleetv1.Command{Ask: &fleetv1.Command_Drain{Drain: &fleetv1.Drain{}}}, changeWithin)
	if err != nil {
		return 0, err
	}
	if answer.GetDraining() == nil {
		return 0, p.failed(errOtherThanAsked)
	}
	return int(min(answer.GetDraining().GetPending(), math.MaxInt)), nil
}

// named finds the one connected sidecar with an id.
func (f *Fleet) named(sidecar string) (*peer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, sidehook.ErrStopping
	}
	var found *peer
	known := false
	for key, state := range f.sidecars {
		switch {
		case key.id != sidecar:
			continue
		case state.stream != nil && found != nil:
			return nil, conflictf("", "several sidecars with different tokens call themselves %s; give them ids of their own", sidecar)
		case state.stream != nil:
			found = &peer{key: key, stream: state.stream}
		}
		known = true
	}
	switch {
	case found != nil:
		return found, nil
	case known:
		return nil, &SidecarError{Sidecar: sidecar, Reason: "is not connected", Err: ErrNoSidecar}
	}
	return nil, fmt.Errorf("sidecar %.80q: %w", sidecar, sidehook.ErrNotFound)
}
