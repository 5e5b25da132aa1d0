package main

import "fmt"

// orderingKeys is how many keys the events of the row ordered have.
const orderingKeys = 10_000

// orderedPath is where the receiver checks the order.
const orderedPath = "/ordered"

// orderingKey is the key of an event: spread so that events of a key are under way together now and then.
func orderingKey(seq, keys uint64) uint64 {
	const golden = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio
	return seq * golden >> 32 % keys
}

// orderedRow measures the same rate with ordering by key and without. The events have the same keys in both. The
// receiver checks the order where there must be one. The design has no goal for the ratio.
func orderedRow(b *bench) error {
	b.keys = orderingKeys
	plain, ordered := sidecarSpec{hooks: b.hooks(1)}, sidecarSpec{hooks: b.hooks(1)}
	ordered.hooks[0].URL, ordered.hooks[0].Ordered = b.recv.url(orderedPath), true
	if err := b.against(1, plain, ordered, nil); err != nil {
		return err
	}
	b.add("ordering keys", orderingKeys, "")
	return nil
}

// filterRow measures the same rate with a filter that every event passes and without. The filter looks at the event's data.
// The design has no goal for the ratio.
func filterRow(b *bench) error {
	filtered := sidecarSpec{hooks: b.hooks(1)}
	filtered.hooks[0].Filter = passes(0)
	return b.against(1, sidecarSpec{hooks: b.hooks(1)}, filtered, nil)
}

// What the row filter100 has: so many webhooks with filters, of which so many pass.
const (
	filters        = 100
	filtersPassing = 10
)

// filter100Row measures the rate with many webhooks of which each event passes the filters of some, against those some
// alone without filters. An event's data is decoded once for all of them.
func filter100Row(b *bench) error {
	many := sidecarSpec{hooks: b.hooks(filters)}
	for i := range many.hooks {
		many.hooks[i].Filter = passes(i)
		if i >= filtersPassing {
			many.hooks[i].Filter = fails(i)
		}
	}
	return b.against(filtersPassing, sidecarSpec{hooks: b.hooks(filtersPassing)}, many, nil)
}

// passes is a filter that each event passes, and fails one that none does; no two are the same. See body for what is in
// the data.
func passes(i int) string { return fmt.Sprintf(`data.seq >= %d && data.pad != "%d"`, i, i) }
func fails(i int) string  { return fmt.Sprintf(`data.seq < %d || data.pad == "%d"`, i, i) }
