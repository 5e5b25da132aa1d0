package storage

import "github.com/sidehook/sidehook"

// EventSize is what an event counts towards MaxBatchBytes and QueueBytes: its texts and data, plus a fixed overhead.
func EventSize(e *sidehook.Event) int {
	n := 64 + len(e.App) + len(e.ID) + len(e.Source) + len(e.Type) + len(e.Subject) + len(e.DataContentType) +
		len(e.DataSchema) + len(e.OrderingKey) + len(e.Data)
	for k, v := range e.Extensions {
		n += len(k) + len(v) + 4
	}
	return n
}
