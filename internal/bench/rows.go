package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// row is something that can be measured by itself, within a minute.
type row struct {
	name, what string
	run        func(b *bench) error
}

func allRows() []row {
	return []row{
		{"one", "durable publish to delivery, one webhook, against the yardstick", func(b *bench) error { return fanOutRow(b, 1) }},
		{"fanout10", "as one, with ten webhooks", func(b *bench) error { return fanOutRow(b, 10) }},
		{"fanout100", "as one, with a hundred webhooks", func(b *bench) error { return fanOutRow(b, 100) }},
		{"latency50", "publish to arrival at 50 events per second", latencyRow},
		{"open10k", "publish to arrival at 10,000 events per second", open10kRow},
		{"publish", "durable publish alone, one client, one stream", publishRow},
		{"deadpeers", "rate with 1,000,000 deliveries pending to dead endpoints, against without", deadPeersRow},
		{"isolation-hanging", "rate of a healthy endpoint while 100 others hang, against without", isolation(one("hanging"))},
		{"isolation-endless", "as before, while the answer of one never ends", isolation(one("endless"))},
		{"isolation-busy", "as before, while one answers 429 with Retry-After", isolation(one("busy"))},
		{"isolation-dns", "as before, while the name of one is not answered for", isolation(one("slow DNS"))},
		{"isolation-tls", "as before, while one speaks no TLS", isolation(one("broken TLS"))},
		{"isolation-all", "as before, with all of that at once", isolation(together)},
		{"isolation-open", "1,000 events per second to a healthy endpoint, with all of that at once, against without", isolationOpenRow},
		{"plugin", "rate with a transformer on every delivery, against without", pluginRow},
		{"ordered", "rate with ordering by key, 10,000 keys, against without", orderedRow},
		{"filter", "rate with a filter on every event, against without", filterRow},
		{"filter100", "rate with a hundred filters of which ten pass, against ten webhooks without", filter100Row},
		{"memory", "memory of the sidecar: idle, at 1,000 events per second, with 1,000,000 deliveries pending", memoryRow},
		{"start", "from exec to ready: empty, with 1,000,000 deliveries pending", startRow},
		{"disk", "bytes written to disk over a whole life, with a hundred webhooks", diskRow},
		{"fleet", "one change to 1,000 sidecars, the control plane holding 100,000 webhooks", fleetRow},
		{"growth", "rate with 10, 1,000 and 100,000 webhooks configured of which 10 match; memory of an endpoint", growthRow},
	}
}

func isolation(pick func(all []trouble) trouble) func(b *bench) error {
	return func(b *bench) error { return isolationRow(b, pick) }
}

func listRows() {
	for _, r := range allRows() {
		fmt.Printf("%-17s  %s\n", r.name, r.what)
	}
}

// chooseRows finds rows by their names, or by what their names have before a hyphen in common.
func chooseRows(names string) ([]row, error) {
	all := allRows()
	if names == "" {
		return all, nil
	}
	var chosen []row
	for name := range strings.SplitSeq(names, ",") {
		before := len(chosen)
		for _, r := range all {
			group, _, _ := strings.Cut(r.name, "-")
			if name := strings.TrimSpace(name); name == r.name || name == group {
				chosen = append(chosen, r)
			}
		}
		if len(chosen) == before {
			return nil, fmt.Errorf("there is no row %q; see -list", name)
		}
	}
	return chosen, nil
}

// with runs f on a sidecar and a publisher made for it, and stops both.
func (b *bench) with(spec sidecarSpec, fanOut int, f func(s *sidecar, p *publisher) error) (err error) {
	s, err := b.sidecar(spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	p, err := b.publisher(s, liveType, fanOut)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	return f(s, p)
}

// closed is the load of a closed loop.
func (b *bench) closed() load {
	return func(ctx context.Context, p *publisher) error {
		window := max(min(b.set.window, maxAway/int(p.arrive)), b.set.batch)
		return p.closedLoop(ctx, b.recv, window, b.set.batch)
	}
}

// maxAway is how many deliveries of a closed loop may be under way, so that a large fan-out does not make a backlog.
const maxAway = 20_000

// open is the load of an open loop.
func open(perSecond float64) load {
	return func(ctx context.Context, p *publisher) error { return p.openLoop(ctx, perSecond) }
}

// rounds is how often what is compared takes turns.
const rounds = 3

// round is a run of the sidecar between two of the yardstick.
type round struct {
	before, after stick
	f             figures
}

func (r round) ratio() float64 { return r.f.rate / mean(r.before, r.after).rate }

// compared is one of several turns.
type compared interface{ ratio() float64 }

func sortByRatio[T compared](turns []T) {
	slices.SortFunc(turns, func(x, y T) int { return cmp.Compare(x.ratio(), y.ratio()) })
}

// addRange tells of the lowest and the highest ratio of sorted turns.
func addRange[T compared](b *bench, turns []T) {
	b.add(lowestRatio, turns[0].ratio(), "×")
	b.add(highestRatio, turns[len(turns)-1].ratio(), "×")
}

// fanOutRow measures the rate of a closed loop in turns with the yardstick, because the machine may change meanwhile. It
// tells of the round whose ratio is neither the best nor the worst, and how far the others were from it.
func fanOutRow(b *bench, fanOut int) error {
	b.set.duration /= 2 // of each round
	before, err := b.yardstick()
	if err != nil {
		return err
	}
	all := make([]round, rounds)
	for i := range all {
		r := &all[i]
		r.before = before
		if r.f, err = b.rateOf(sidecarSpec{hooks: b.hooks(fanOut)}, fanOut, nil); err != nil {
			return err
		}
		if r.after, err = b.yardstick(); err != nil {
			return err
		}
		before = r.after
	}
	sortByRatio(all)
	r := all[len(all)/2]
	b.add("yardstick before", r.before.rate, "/s")
	b.add("yardstick after", r.after.rate, "/s")
	b.add(rate, r.f.rate, "/s")
	b.add(ratio, r.ratio(), "×")
	addRange(b, all)
	b.addLatency(r.f.latency)
	b.addCost(r.f)
	// CPU time is what a full machine runs out of, and unlike a rate it hardly depends on what else runs there.
	b.add("CPU per 10,000, receiver and publisher too", r.f.allCPU.Seconds()*10_000/r.f.deliveries, "s")
	b.add("CPU per 10,000, yardstick and receiver", mean(r.before, r.after).cpu, "s")
	return nil
}

func (b *bench) addLatency(s summary) {
	ms := func(ns int64) float64 { return float64(ns) / 1e6 }
	b.add(p50, ms(s.P50), "ms")
	b.add(p99, ms(s.P99), "ms")
	b.add(p999, ms(s.P999), "ms")
	b.add("slowest", ms(s.Max), "ms")
}

func (b *bench) addCost(f figures) {
	b.add("CPU per 10,000 deliveries", f.cpu.Seconds()*10_000/f.deliveries, "s")
	b.add(perDelivery, float64(f.written)/f.deliveries, "B")
	b.add("resident (RssAnon), most", megabytes(f.memory.anon), "MB")
	b.add("resident (VmRSS), most", megabytes(f.memory.rss), "MB")
	if f.refusals > 0 {
		b.add("batches refused and sent again", float64(f.refusals), "")
	}
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }
