package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// growthHooks is how many webhooks match in the row growth, however many there are.
const growthHooks = 10

// growthRow measures what webhooks cost that have nothing to do: the rates with few, with many and with very many
// configured of which the same ten match, in turns; then what a webhook and an endpoint cost in memory. The configuration
// comes over xDS: to read so many from a file takes more memory than they do.
func growthRow(b *bench) error {
	if err := b.growthRates(); err != nil {
		return err
	}
	return b.endpointMemory()
}

func (b *bench) growthRates() (err error) {
	b.set.warmUp, b.set.duration = min(b.set.warmUp, 300*time.Millisecond), min(b.set.duration, 1500*time.Millisecond) // of ten runs
	var cars [3]*sidecar
	for i, n := range [...]int{growthHooks, b.scaled(1000), b.scaled(100_000)} {
		s, startErr := b.sidecar(sidecarSpec{hooks: append(b.hooks(growthHooks), idleHooks(n-growthHooks)...), overXDS: true})
		if startErr != nil {
			return fmt.Errorf("%d webhooks: %w", n, startErr)
		}
		defer func() { err = errors.Join(err, s.stop()) }()
		cars[i] = s
	}
	used, err := usageOf(cars[2].pid())
	if err != nil {
		return err
	}
	for _, s := range cars {
		// The program that publishes would otherwise have all these webhooks in its memory too. A control plane is elsewhere.
		err := errors.Join(b.awaitQuiet(s), s.config.stop())
		s.config = nil
		if err != nil {
			return err
		}
	}
	runtime.GC()

	few, thousand, many := cars[0], cars[1], cars[2]
	run := 0
	rate := func(s *sidecar) (f figures, err error) {
		p, err := b.publisher(s, liveType, growthHooks)
		if err != nil {
			return f, err
		}
		run++
		p.id += strconv.Itoa(run) + "-" // the sidecar knows those of the run before
		f, err = b.run(s, p, b.closed())
		return f, errors.Join(err, p.close(), b.recv.reset())
	}
	before, err := rate(few)
	if err != nil {
		return err
	}
	var toThousand, toMany comparisons
	for range rounds {
		withThousand, err := rate(thousand)
		if err != nil {
			return err
		}
		withMany, err := rate(many)
		if err != nil {
			return err
		}
		after, err := rate(few)
		if err != nil {
			return err
		}
		toThousand = append(toThousand, comparison{before, withThousand, after})
		toMany = append(toMany, comparison{before, withMany, after})
		before = after
	}
	// All of them count, not the middle one: a large heap is collected in one of a few.
	b.add("rate, 10 webhooks", toMany.mean(func(c comparison) float64 { return (c.before.rate + c.after.rate) / 2 }), "/s")
	b.add(ratioThousand, toThousand.mean(comparison.ratio), "×")
	b.add(ratioMany, toMany.mean(comparison.ratio), "×")
	sortByRatio(toMany)
	addRange(b, toMany)
	b.add("ratio of the sidecar's CPU per delivery with 1,000 webhooks to that with 10", toThousand.mean(comparison.cpu), "×")
	b.add("ratio of the sidecar's CPU per delivery with 100,000 webhooks to that with 10", toMany.mean(comparison.cpu), "×")
	b.add("ready with 100,000 webhooks, first configuration included", milliseconds(many.took), "ms")
	b.add("CPU until then", used.cpu.Seconds(), "s")
	b.addLatency(toMany.middle().with.latency)
	b.addCost(toMany.middle().with)
	return nil
}

// awaitQuiet waits until a sidecar has done what a new configuration gives it to do after it is ready: that is on disk and
// the sidecar does nothing more, or it has been at it for so long that it does not matter any more.
func (b *bench) awaitQuiet(s *sidecar) error {
	const most, look, little = 8 * time.Second, 200 * time.Millisecond, 2 * clockTick
	kept := filepath.Join(s.dir, "state", "config.lkg")
	before, err := usageOf(s.pid())
	for began := time.Now(); err == nil && time.Since(began) < most; {
		if err := pause(b.ctx, look); err != nil {
			return err
		}
		var now usage
		if now, err = usageOf(s.pid()); now.cpu-before.cpu <= little {
			if _, err := os.Stat(kept); err == nil {
				break
			}
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
