package app

import (
	"context"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/ingest"
	"github.com/sidehook/sidehook/outbound"
)

// acceptor lets ingest hand events to the delivery engine: the two do not know each other.
type acceptor struct{ engine *outbound.Engine }

func (a acceptor) Serves(app string) bool { return a.engine.Serves(app) }

func (a acceptor) Accept(ctx context.Context, events []*sidehook.Event) (ingest.Receipt, error) {
	r, err := a.engine.Accept(ctx, events)
	if err != nil {
		return nil, err
	}
	return receipt{r}, nil
}

type receipt struct{ r *outbound.Receipt }

var dispositions = map[outbound.Disposition]ingest.Disposition{
	outbound.Accepted:  ingest.Accepted,
	outbound.Duplicate: ingest.Duplicate,
	outbound.Unmatched: ingest.Unmatched,
	outbound.Held:      ingest.Held,
}

func (r receipt) Wait(ctx context.Context) ([]ingest.Result, error) {
	accepted, err := r.r.Wait(ctx)
	if err != nil {
		return nil, err
	}
	results := make([]ingest.Result, len(accepted))
	for i, a := range accepted {
		results[i] = ingest.Result{Disposition: dispositions[a.Disposition], Deliveries: a.Deliveries}
	}
	return results, nil
}
