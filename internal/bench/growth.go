package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

// growthHooks is how many webhooks match in the row growth, however many there are.
const growthHooks = 10

// growthRow measures what webhooks cost that have nothing to do: the rate with few, with many and with very many
// configured of which the same ten match; then what an endpoint costs in memory.
func growthRow(b *bench) error {
	b.set.warmUp, b.set.duration = min(b.set.warmUp, time.Second), min(b.set.duration, 4*time.Second) // there are four rates
	sizes := []int{growthHooks, b.scaled(1000), b.scaled(100_000), growthHooks}                       // the machine may change meanwhile
	rates := make([]figures, len(sizes))
	for i, n := range sizes {
		err := b.with(sidecarSpec{hooks: append(b.hooks(growthHooks), idleHooks(n-growthHooks)...)}, growthHooks,
			func(s *sidecar, p *publisher) (err error) {
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
	b.addLatency(rates[2].latency)
	b.addCost(rates[2])
	return b.endpointMemory()
}

// idleHooks are n webhooks that want other events.
func idleHooks(n int) []hook {
	hooks := make([]hook, max(0, n))
	for i := range hooks {
		hooks[i] = hook{URL: "http://127.0.0.1:9/w/" + strconv.Itoa(i), Event: "other.e" + strconv.Itoa(i)}
	}
	return hooks
}

// endpointMemory measures what a sidecar has in memory for each endpoint that it has delivered to: the same deliveries to
// the same number of webhooks, once all at one address and once each at an address of its own, of those that a host has
// for itself.
func (b *bench) endpointMemory() error {
	n, err := endpointsAllowed(b.scaled(10_000))
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(b.recv.wide)
	if err != nil {
		return err
	}
	one, err := b.memoryAfter(n, func(int) string { return net.JoinHostPort("127.0.0.1", port) })
	if err != nil {
		return err
	}
	many, err := b.memoryAfter(n, func(i int) string {
		return net.JoinHostPort(loopback(i), port)
	})
	if err != nil {
		return err
	}
	b.add("endpoints", float64(n), "")
	b.add("resident (RssAnon), all webhooks at one endpoint", megabytes(one.anon), "MB")
	b.add("resident (RssAnon), each at its own", megabytes(many.anon), "MB")
	b.add(perEndpoint, float64(many.anon-one.anon)/1e3/float64(n), "kB")
	return nil
}

// loopback is one of the many addresses that a host has for itself.
func loopback(i int) string { return fmt.Sprintf("127.%d.%d.%d", 1+i/62500, i/250%250, 1+i%250) }

// memoryAfter is what a sidecar has in memory a while after it delivered to n webhooks at addresses.
func (b *bench) memoryAfter(n int, address func(i int) string) (m memory, err error) {
	hooks := make([]hook, n)
	for i := range hooks {
		hooks[i] = hook{URL: "http://" + address(i) + webhookPath(i), Event: liveType}
	}
	err = b.with(sidecarSpec{hooks: hooks}, n, func(s *sidecar, p *publisher) error {
		for range endpointEvents {
			if err := p.send(time.Now()); err != nil {
				return err
			}
			if err := b.settle(p); err != nil {
				return err
			}
		}
		if err := pause(b.ctx, 3*time.Second); err != nil {
			return err
		}
		m, err = memoryOf(s.pid())
		return err
	})
	return m, errors.Join(err, b.recv.reset())
}

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
