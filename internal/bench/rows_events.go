package main

import (
	"fmt"
	"time"
)

// orderingKeys is how many keys the events of the row ordered have.
const orderingKeys = 10_000

// orderedPath is where the receiver checks the order.
const orderedPath = "/ordered"

// orderingKey is the key of an event: spread so that events of a key are under way together now and then.
func orderingKey(seq, keys uint64) uint64 {
	const golden = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio
	return seq * golden >> 32 % keys
}

// orderedRow measures the same rate twice, with ordering by key and without. The events have the same keys in both. The
// receiver checks the order where there must be one. The design has no goal for the ratio.
func orderedRow(b *bench) error {
	b.keys = orderingKeys
	plain, ordered := sidecarSpec{hooks: b.hooks(1)}, sidecarSpec{hooks: b.hooks(1)}
	ordered.hooks[0].URL, ordered.hooks[0].Ordered = b.recv.url(orderedPath), true
	if err := b.against(plain, ordered, func(*sidecar) error { return nil }); err != nil {
		return err
	}
	b.add("ordering keys", orderingKeys, "")
	return nil
}

// What the row filter has besides one webhook with a filter: so many with filters, of which so many pass.
const (
	filters        = 100
	filtersPassing = 10
)

// filterRow measures the same rate twice, with a filter that every event passes and without; then the rate with many
// webhooks of which each event passes the filters of some, against those some alone without filters. Each filter looks at
// the event's data, which is decoded once for all of them. The design has no goal for either.
func filterRow(b *bench) error {
	b.set.warmUp, b.set.duration = min(b.set.warmUp, time.Second), min(b.set.duration, 5*time.Second) // there are six rates
	nothing := func(*sidecar) error { return nil }
	one := sidecarSpec{hooks: b.hooks(1)}
	one.hooks[0].Filter = passes(0)
	if err := b.against(sidecarSpec{hooks: b.hooks(1)}, one, nothing); err != nil {
		return err
	}
	many := sidecarSpec{hooks: b.hooks(filters)}
	for i := range many.hooks {
		many.hooks[i].Filter = passes(i)
		if i >= filtersPassing {
			many.hooks[i].Filter = fails(i)
		}
	}
	c, err := b.compare(filtersPassing, sidecarSpec{hooks: b.hooks(filtersPassing)}, many, nothing)
	if err != nil {
		return err
	}
	const what = "100 filters of which 10 pass: "
	b.add(what+"rate without, before", c.before.rate, "/s")
	b.add(what+"rate without, after", c.after.rate, "/s")
	b.add(what+rate, c.with.rate, "/s")
	b.add(what+ratioAlone, c.ratio(), "×")
	b.add(what+cpuAlone, c.cpu(), "×")
	return nil
}

// passes is a filter that each event passes, and fails one that none does; no two are the same. See body for what is in
// the data.
func passes(i int) string { return fmt.Sprintf(`data.seq >= %d && data.pad != "%d"`, i, i) }
func fails(i int) string  { return fmt.Sprintf(`data.seq < %d || data.pad == "%d"`, i, i) }
