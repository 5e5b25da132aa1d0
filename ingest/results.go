package ingest

import (
	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// idsOf notes the ids for the answer, since the events belong to the Acceptor once they are submitted.
func idsOf(events []*sidehook.Event) []string {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}

// resultsProto is the answer for a batch; the results are made in one piece.
func resultsProto(ids []string, results []Result) []*eventsv1.PublishResult {
	all := make([]eventsv1.PublishResult, len(results))
	out := make([]*eventsv1.PublishResult, len(results))
	for i, r := range results {
		p := &all[i]
		p.Id = ids[i]
		p.Disposition = eventsv1.Disposition(r.Disposition)
		p.Deliveries = uint32(max(r.Deliveries, 0))
		out[i] = p
	}
	return out
}
