package badgerstore

import (
	"context"
	"fmt"
	"sync"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// txnCost is what something takes of the room in a Badger transaction.
type txnCost struct{ bytes, entries int }

func (c *txnCost) add(o txnCost) {
	c.bytes += o.bytes
	c.entries += o.entries
}

func (c txnCost) exceeds(room txnCost) bool { return c.bytes > room.bytes || c.entries > room.entries }

// entryOverhead is more than what Badger counts for an entry besides its key and value.
const entryOverhead = 24

// Append encodes the batch and submits it.
func (s *Store) Append(ctx context.Context, b *storage.Batch) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := storage.CheckBatch(b); err != nil {
		return err
	}
	if s.shown.queueSize.Load() >= s.opts.QueueBytes {
		return storage.QueueFull(s.opts.QueueBytes)
	}
	if full := s.full.Load(); full != nil {
		return *full
	}
	sub := newSubmission(b, s.opts.DedupeWindow >= 0)
	if sub.cost = appendCost(b); sub.cost.exceeds(s.group.most) {
		if sub.cost = exactAppendCost(b); sub.cost.exceeds(s.group.most) {
			return fmt.Errorf("batch with its plan for so many webhooks does not fit one commit, split it: %w",
				sidehook.ErrTooLarge)
		}
	}
	if err := s.in.submit(ctx, sub); err != nil {
		sub.release()
		return err
	}
	return nil
}

var recordBuffers = sync.Pool{New: func() any { return new([]byte) }}

func newSubmission(b *storage.Batch, hash bool) *submission {
	sub := &submission{batch: b, ends: make([]int, len(b.Entries))}
	if hash {
		sub.ids = make([]idHash, len(b.Entries))
	}
	buf := *recordBuffers.Get().(*[]byte)
	for i := range b.Entries {
		e := &b.Entries[i]
		e.Duplicate = false
		if hash {
			sub.ids[i] = hashID(e.Event)
		}
		if len(e.Deliveries) > 0 {
			buf = appendEvent(buf, e.Event)
		}
		sub.ends[i] = len(buf)
	}
	sub.records = buf
	return sub
}

// record of the event of entry i.
func (sub *submission) record(i int) []byte {
	start := 0
	if i > 0 {
		start = sub.ends[i-1]
	}
	return sub.records[start:sub.ends[i]]
}

// release gives the buffer back.
func (sub *submission) release() {
	if sub.records != nil {
		buf := sub.records[:0]
		recordBuffers.Put(&buf)
		sub.records = nil
	}
}

// What parts of a batch take at most.
const (
	eventCost = 40 // its id's hash and the frame of its record
	hookCost  = 4  // one more webhook in a plan, or one more member in a run
)

// dueCost is what a due time takes in a plan.
func dueCost(p *storage.Placement) int {
	if p.DueAt.IsZero() {
		return 1
	}
	return 1 + 8
}

// nameCost is what a webhook's first mention in a block takes.
func nameCost(key sidehook.WebhookKey) int { return 4 + len(key.App) + len(key.ID) }

// runCost is what a run takes besides its members.
func runCost(key sidehook.WebhookKey) txnCost {
	return txnCost{bytes: 3 + len(key.App) + len(key.ID) + queueTail + 12 + entryOverhead, entries: 1}
}

// appendCost is at least what the batch takes in a transaction. It takes everything that is not the same as in the
// entry before for new, which is quick and mostly right.
func appendCost(b *storage.Batch) txnCost {
	c := txnCost{bytes: 256, entries: 4}
	var prev []storage.Placement
	for i := range b.Entries {
		e := &b.Entries[i]
		c.bytes += eventCost + storage.EventSize(e.Event)
		same := i > 0 && sameHooks(prev, e.Deliveries)
		for j := range e.Deliveries {
			p := &e.Deliveries[j]
			if !same {
				c.bytes += hookCost + nameCost(p.Webhook)
			}
			if !p.Queued {
				continue
			}
			c.bytes += hookCost + dueCost(p)
			if !same || !prev[j].Queued || !prev[j].DueAt.Equal(p.DueAt) {
				c.add(runCost(p.Webhook))
			}
		}
		prev = e.Deliveries
	}
	c.entries += c.bytes / blockTarget
	return c
}

// exactAppendCost is a closer bound, for batches in which events go to changing webhooks.
func exactAppendCost(b *storage.Batch) txnCost {
	c := txnCost{bytes: 256, entries: 4}
	names := make(map[sidehook.WebhookKey]bool)
	runs := make(map[runRef]bool)
	var prev []storage.Placement
	for i := range b.Entries {
		e := &b.Entries[i]
		c.bytes += eventCost + storage.EventSize(e.Event)
		same := i > 0 && sameHooks(prev, e.Deliveries)
		for j := range e.Deliveries {
			p := &e.Deliveries[j]
			if !same {
				c.bytes += hookCost
			}
			if !names[p.Webhook] {
				names[p.Webhook] = true
				c.bytes += 2 * nameCost(p.Webhook) // a webhook may come up in a few blocks
			}
			if !p.Queued {
				continue
			}
			c.bytes += hookCost + dueCost(p)
			if ref := (runRef{p.Webhook, runID{due: nanos(p.DueAt)}}); !runs[ref] {
				runs[ref] = true
				c.add(runCost(p.Webhook))
			}
		}
		prev = e.Deliveries
	}
	c.entries += c.bytes / blockTarget
	return c
}
