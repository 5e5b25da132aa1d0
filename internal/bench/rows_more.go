package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// open10kRow measures an open loop near the rate of a busy service.
func open10kRow(b *bench) error {
	return b.with(sidecarSpec{hooks: b.hooks(1)}, 1, func(s *sidecar, p *publisher) error {
		f, err := b.run(s, p, open(10_000))
		if err != nil {
			return err
		}
		b.add(rate, f.rate, "/s")
		b.addLatency(f.latency)
		b.addCost(f)
		return nil
	})
}

// publishRow measures publishing alone. The webhook is a real one, so every event and its delivery are made durable;
// its endpoint never answers, so nearly every delivery stays in the queue and costs nothing further.
func publishRow(b *bench) error {
	spec := sidecarSpec{hooks: []hook{{URL: b.recv.url(hangPath), Event: liveType, Timeout: time.Minute}}, hangs: true}
	return b.with(spec, 1, func(s *sidecar, p *publisher) error {
		f, err := b.underLoad(s, p, func(ctx context.Context, p *publisher) error {
			return endOf(ctx, p.publishAll(ctx, maxSeq, maxOpenBatch))
		})
		if err != nil {
			return err
		}
		if err := p.finish(b.ctx); err != nil {
			return err
		}
		pending, err := s.pending()
		if err == nil && uint64(pending) != p.next {
			err = fmt.Errorf("%d events were acknowledged, %d are pending", p.next, pending)
		}
		if err != nil {
			return err
		}
		n := f.events * b.set.duration.Seconds()
		b.add(rate, f.events, "/s")
		b.add("CPU per 10,000 events", f.cpu.Seconds()*10_000/n, "s")
		b.add("written to disk per event", float64(f.written)/n, "B")
		b.add("resident (RssAnon), most", megabytes(f.memory.anon), "MB")
		b.add("resident (VmRSS), most", megabytes(f.memory.rss), "MB")
		return nil
	})
}

// The backlog of the rows that have one: so many events for so many webhooks that are dead.
const (
	backlogHooks  = 10
	backlogEvents = 100_000
)

// makeBacklog publishes events that nobody takes, and checks that their deliveries are pending.
func (b *bench) makeBacklog(s *sidecar) error {
	if err := b.publishBacklog(s, backlogType, backlogHooks, backlogEvents); err != nil {
		return err
	}
	pending, err := s.pending()
	if err == nil && pending < backlogHooks*backlogEvents {
		err = fmt.Errorf("%d deliveries are pending, want %d", pending, backlogHooks*backlogEvents)
	}
	return err
}

// publishBacklog publishes events of a type that so many webhooks want.
func (b *bench) publishBacklog(s *sidecar, typ string, hooks int, events uint64) (err error) {
	p, err := b.publisher(s, typ, hooks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	return p.publishAll(b.ctx, events, maxOpenBatch)
}

// deadPeersRow measures the same rate twice, in two sidecars of which one has a backlog for endpoints that refuse.
func deadPeersRow(b *bench) error {
	dead, err := deadHooks(backlogHooks)
	if err != nil {
		return err
	}
	spec := sidecarSpec{hooks: append(b.hooks(1), dead...)}
	return b.against(1, spec, spec, func(s *sidecar) error { return b.makeBacklog(s) })
}

// pluginRow measures the same rate with a transformer and without.
func pluginRow(b *bench) error {
	plain := sidecarSpec{hooks: b.hooks(1)}
	through := sidecarSpec{hooks: b.hooks(1), transformer: b.set.plugin}
	through.hooks[0].Transformer = transformerName
	return b.against(1, plain, through, nil)
}

// against measures the rate of a closed loop with something, in turns with that without it, with so many deliveries for an
// event. prepare, unless nil, makes the sidecar with it ready.
func (b *bench) against(fanOut int, without, with sidecarSpec, prepare func(s *sidecar) error) error {
	b.set.warmUp, b.set.duration = min(b.set.warmUp, 1500*time.Millisecond), min(b.set.duration, 4*time.Second) // seven runs
	c, err := b.turns(
		func() (figures, error) { return b.rateOf(without, fanOut, nil) },
		func() (figures, error) { return b.rateOf(with, fanOut, prepare) },
	)
	if err != nil {
		return err
	}
	b.addTurns(c)
	m := c.middle()
	b.add(cpuAlone, m.cpu(), "×")
	b.addLatency(m.with.latency)
	b.addCost(m.with)
	return nil
}

// comparison is what was measured with something and without it.
type comparison struct{ before, with, after figures }

// ratio is that of the rates.
func (c comparison) ratio() float64 { return c.with.rate / ((c.before.rate + c.after.rate) / 2) }

// cpu is the ratio of the CPU time that the sidecar takes for a delivery: it hardly depends on what else runs.
func (c comparison) cpu() float64 {
	return 2 * c.with.ownCost() / (c.before.ownCost() + c.after.ownCost())
}

// comparisons are in the order of their ratios, once they are sorted.
type comparisons []comparison

// middle is the one whose ratio is neither the best nor the worst.
func (c comparisons) middle() comparison { return c[len(c)/2] }

// mean is that of a figure of theirs.
func (c comparisons) mean(of func(comparison) float64) float64 {
	sum := 0.0
	for _, x := range c {
		sum += of(x)
	}
	return sum / float64(len(c))
}

// turns measures with and without in turns, because the machine may change meanwhile.
func (b *bench) turns(without, with func() (figures, error)) (comparisons, error) {
	before, err := without()
	if err != nil {
		return nil, fmt.Errorf("without: %w", err)
	}
	all := make(comparisons, rounds)
	for i := range all {
		c := &all[i]
		c.before = before
		if c.with, err = with(); err != nil {
			return nil, err
		}
		if c.after, err = without(); err != nil {
			return nil, fmt.Errorf("without: %w", err)
		}
		before = c.after
	}
	sortByRatio(all)
	return all, nil
}

// addTurns tells of the middle comparison, and how far the others were from it.
func (b *bench) addTurns(c comparisons) {
	m := c.middle()
	b.add("rate without, before", m.before.rate, "/s")
	b.add("rate without, after", m.after.rate, "/s")
	b.add(rate, m.with.rate, "/s")
	b.add(ratioAlone, m.ratio(), "×")
	addRange(b, c)
}

// rateOf measures a closed loop with so many deliveries for an event; prepare, unless nil, makes the sidecar ready for it.
func (b *bench) rateOf(spec sidecarSpec, fanOut int, prepare func(s *sidecar) error) (f figures, err error) {
	err = b.with(spec, fanOut, func(s *sidecar, p *publisher) (err error) {
		if prepare != nil {
			if err := prepare(s); err != nil {
				return err
			}
		}
		f, err = b.run(s, p, b.closed())
		return err
	})
	return f, errors.Join(err, b.recv.reset())
}

// memoryRow measures what a sidecar has in memory that is idle, has little to do, or has a large backlog.
func memoryRow(b *bench) error {
	dead, err := deadHooks(backlogHooks)
	if err != nil {
		return err
	}
	spec := sidecarSpec{hooks: append(b.hooks(1), dead...)}
	return b.with(spec, 1, func(s *sidecar, p *publisher) error {
		if err := b.addMemory(s, 3*time.Second, idleMemory, "VmRSS, idle"); err != nil {
			return err
		}
		f, err := b.run(s, p, open(1000))
		if err != nil {
			return err
		}
		b.add(busyMemory, megabytes(f.memory.anon), "MB")
		b.add("VmRSS, at 1,000/s", megabytes(f.memory.rss), "MB")
		stop := watchMemory(s.pid())
		err = b.makeBacklog(s)
		most, watchErr := stop()
		if err := errors.Join(err, watchErr); err != nil {
			return err
		}
		b.add("RssAnon, most while the backlog came in", megabytes(most.anon), "MB")
		return b.addMemory(s, 5*time.Second, fullMemory, "VmRSS, 1,000,000 pending")
	})
}

// addMemory reports the most that a sidecar has in memory after it was left alone for a while.
func (b *bench) addMemory(s *sidecar, after time.Duration, anon, rss string) error {
	if err := pause(b.ctx, after); err != nil {
		return err
	}
	stop := watchMemory(s.pid())
	err := pause(b.ctx, time.Second)
	m, watchErr := stop()
	b.add(anon, megabytes(m.anon), "MB")
	b.add(rss, megabytes(m.rss), "MB")
	return errors.Join(err, watchErr)
}

// starts is how many starts of an empty sidecar are measured.
const starts = 5

// startRow measures how long a sidecar takes from exec until it is ready.
func startRow(b *bench) error {
	dead, err := deadHooks(backlogHooks)
	if err != nil {
		return err
	}
	spec := sidecarSpec{hooks: append(b.hooks(1), dead...)}
	took := make([]time.Duration, 0, starts)
	for range starts {
		s, err := b.sidecar(spec)
		if err != nil {
			return err
		}
		took = append(took, s.took)
		if err := s.stop(); err != nil {
			return err
		}
	}
	slices.Sort(took)
	b.add(ready, milliseconds(took[len(took)/2]), "ms")
	b.add("ready, slowest of 5", milliseconds(took[len(took)-1]), "ms")
	return b.startWithBacklog(spec)
}

func (b *bench) startWithBacklog(spec sidecarSpec) error {
	s, err := b.sidecar(spec)
	if err != nil {
		return err
	}
	if err := errors.Join(b.makeBacklog(s), s.stop()); err != nil {
		return err
	}
	again, err := startSidecar(b.ctx, b.set.binary, s.dir)
	if err != nil {
		return err
	}
	pending, err := again.pending()
	if err == nil && pending < backlogHooks*backlogEvents {
		err = fmt.Errorf("%d deliveries are pending after the start, want %d", pending, backlogHooks*backlogEvents)
	}
	b.add(readyLoaded, milliseconds(again.took), "ms")
	return errors.Join(err, again.stop())
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// diskRow measures what a sidecar writes until it has ended, at a fan-out where an event's body weighs little.
func diskRow(b *bench) error {
	const fanOut = 100
	var s *sidecar
	var total uint64
	err := b.with(sidecarSpec{hooks: b.hooks(fanOut)}, fanOut, func(running *sidecar, p *publisher) error {
		s = running
		_, err := b.run(s, p, b.closed())
		total = p.next * fanOut
		return err
	})
	if err != nil {
		return err
	}
	b.add("deliveries", float64(total), "")
	b.add(perDelivery, float64(s.written())/float64(total), "B")
	return nil
}
