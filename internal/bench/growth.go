package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"syscall"
	"time"
)

// growthHooks is how many webhooks match in the row growth, however many there are.
const growthHooks = 10

// growthRow measures what webhooks cost that have nothing to do: the rate with few, with many and with very many
// configured of which the same ten match; then what a webhook and an endpoint cost in memory. The configuration comes over
// xDS: to read so many from a file takes more memory than they do.
func growthRow(b *bench) error {
	b.set.warmUp, b.set.duration = min(b.set.warmUp, 500*time.Millisecond), min(b.set.duration, 3*time.Second) // there are four rates
	sizes := []int{growthHooks, b.scaled(1000), b.scaled(100_000), growthHooks}                                // the machine may change meanwhile
	rates := make([]figures, len(sizes))
	var ready, readyCPU time.Duration
	for i, n := range sizes {
		spec := sidecarSpec{hooks: append(b.hooks(growthHooks), idleHooks(n-growthHooks)...), overXDS: true}
		err := b.with(spec, growthHooks, func(s *sidecar, p *publisher) (err error) {
			used, err := usageOf(s.pid())
			if err != nil {
				return err
			}
			ready, readyCPU = max(ready, s.took), max(readyCPU, used.cpu)
			if err := b.awaitQuiet(s); err != nil {
				return err
			}
			rates[i], err = b.run(s, p, b.closed())
			return err
		})
		if err := errors.Join(err, b.recv.reset()); err != nil {
			return fmt.Errorf("%d webhooks: %w", n, err)
		}
	}
	few := (rates[0].rate + rates[3].rate) / 2
	b.add("rate, 10 webhooks", few, "/s")
	for i, metric := range map[int]string{1: ratioThousand, 2: ratioMany} {
		b.add(metric, rates[i].rate/few, "×")
	}
	cost := (rates[0].ownCost() + rates[3].ownCost()) / 2
	b.add("ratio of the sidecar's CPU per delivery with 1,000 webhooks to that with 10", rates[1].ownCost()/cost, "×")
	b.add("ratio of the sidecar's CPU per delivery with 100,000 webhooks to that with 10", rates[2].ownCost()/cost, "×")
	b.add("ready with 100,000 webhooks, first configuration included", milliseconds(ready), "ms")
	b.add("CPU until then", readyCPU.Seconds(), "s")
	b.addLatency(rates[2].latency)
	b.addCost(rates[2])
	return b.endpointMemory()
}

// awaitQuiet waits until a sidecar has done what a new configuration gives it to do after it is ready, such as to keep that on
// disk, or for so long that it does not matter any more.
func (b *bench) awaitQuiet(s *sidecar) error {
	const most, look, little = 5 * time.Second, 200 * time.Millisecond, 2 * clockTick
	before, err := usageOf(s.pid())
	for began := time.Now(); err == nil && time.Since(began) < most; {
		if err := pause(b.ctx, look); err != nil {
			return err
		}
		var now usage
		if now, err = usageOf(s.pid()); now.cpu-before.cpu <= little {
			break
		}
		before = now
	}
	return err
}

// idleHooks are n webhooks that want other events.
func idleHooks(n int) []hook {
	hooks := make([]hook, max(0, n))
	for i := range hooks {
		hooks[i] = hook{URL: "http://127.0.0.1:9/w/" + strconv.Itoa(i), Event: "other.e" + strconv.Itoa(i)}
	}
	return hooks
}

// endpointMemory measures what a sidecar has in memory for each webhook that it knows, and for each endpoint that it has
// delivered to, with its idle connection: a sidecar with one webhook; one with many, before and after the same deliveries to
// all of them, once all at one address and once each at an address of its own, of those that a host has for itself.
//
// Its collector has no memory to be generous with (eagerEnv), so that garbage does not count. Left to itself a sidecar has up
// to 40% more than is in use, and what it had at its busiest for a few minutes longer.
func (b *bench) endpointMemory() error {
	n, err := endpointsAllowed(b.scaled(10_000))
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(b.recv.wide)
	if err != nil {
		return err
	}
	same := func(int) string { return net.JoinHostPort("127.0.0.1", port) }
	none, err := b.memoryWith(1, same)
	if err != nil {
		return err
	}
	one, err := b.memoryWith(n, same)
	if err != nil {
		return err
	}
	many, err := b.memoryWith(n, func(i int) string { return net.JoinHostPort(loopback(i), port) })
	if err != nil {
		return err
	}
	b.add("webhooks", float64(n), "")
	b.add("in use (RssAnon), one webhook configured", megabytes(none.configured), "MB")
	b.add("in use (RssAnon), all webhooks configured", megabytes((one.configured+many.configured)/2), "MB")
	b.add("in use (RssAnon), and delivered to, all at one endpoint", megabytes(one.delivered), "MB")
	b.add("in use (RssAnon), and delivered to, each at its own", megabytes(many.delivered), "MB")
	each := func(total int64) float64 { return float64(total) / 1e3 / float64(n) }
	b.add(perWebhook, each((one.configured+many.configured)/2-none.configured), "kB")
	b.add(perLane, each(one.delivered-none.delivered), "kB")
	b.add(perEndpoint, each(many.delivered-one.delivered), "kB")
	return nil
}

// endpointStages is what a sidecar has in memory when it has its configuration, and after it has delivered.
type endpointStages struct{ configured, delivered int64 }

// memoryWith measures a sidecar with n webhooks at addresses.
func (b *bench) memoryWith(n int, address func(i int) string) (m endpointStages, err error) {
	hooks := make([]hook, n)
	for i := range hooks {
		hooks[i] = hook{URL: "http://" + address(i) + webhookPath(i), Event: liveType}
	}
	err = b.with(sidecarSpec{hooks: hooks, overXDS: true, env: eagerEnv}, n, func(s *sidecar, p *publisher) (err error) {
		if m.configured, err = b.settledMemory(s); err != nil {
			return err
		}
		for range endpointEvents {
			if err := p.send(time.Now()); err != nil {
				return err
			}
			if err := b.settle(p); err != nil {
				return err
			}
		}
		m.delivered, err = b.settledMemory(s)
		return err
	})
	return m, errors.Join(err, b.recv.reset())
}

// eagerEnv has a program collect its garbage all the time and give back at once what it has no use for.
var eagerEnv = []string{"GOMEMLIMIT=1MiB"}

// settledMemory is the RssAnon of a sidecar when it does not become less any more.
func (b *bench) settledMemory(s *sidecar) (least int64, err error) {
	const most, enough = 4 * time.Second, 1500 * time.Millisecond
	least = math.MaxInt64
	for began, lessAt := time.Now(), time.Now(); time.Since(began) < most && time.Since(lessAt) < enough; {
		if _, err := s.pending(); err != nil { // a request, so that it has something to collect
			return 0, err
		}
		m, err := memoryOf(s.pid())
		if err != nil {
			return 0, err
		}
		if m.anon < least-least/100 {
			lessAt = time.Now()
		}
		least = min(least, m.anon)
		if err := pause(b.ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return least, nil
}

// loopback is one of the many addresses that a host has for itself.
func loopback(i int) string { return fmt.Sprintf("127.%d.%d.%d", 1+i/62500, i/250%250, 1+i%250) }

// endpointEvents is how many events every endpoint gets: the second goes over the connection of the first.
const endpointEvents = 2

// endpointsAllowed is n, or as many as a process may have connections.
func endpointsAllowed(n int) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	const others = 500
	if most := int(min(limit.Max, 1<<30)) - others; n > most {
		n = most
	}
	if n < 1 {
		return 0, fmt.Errorf("a process may open %d files, too few for this row: raise ulimit -n", limit.Max)
	}
	return n, nil
}
