package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What the soak does: so many events per second for as long as was asked for, then a backlog of so many for an endpoint
// that is dead, which then comes to life.
const (
	soakRate    = 2000
	soakBacklog = 300_000
)

const soakName = "soak"

// soakLimits are small, so that what is bounded is at its bound long before it is measured.
const soakLimits = "limits: {history: 8MiB, dedupe_events: 20000}\n"

// soakBounds say how much may be added over the time that is measured, and what the folder may take in the end.
var soakBounds = []struct {
	what  string
	unit  string
	bound float64
	// part of the median that is allowed when that is more
	part float64
}{
	{"resident (RssAnon)", "MB", 4, 0.1},
	{"goroutines", "", 10, 0.05},
	{"descriptors", "", 10, 0.05},
	{"disk", "MB", 8, 0.1},
}

const (
	soakDisk     = "disk after the backlog was delivered"
	soakDiskGoal = 64 // MB
	soakSettle   = 3 * time.Minute
)

// soak runs a sidecar for a long time under a moderate load, a tenth of it failing at first, and fails when memory,
// goroutines, descriptors or disk grow meanwhile, when an acknowledged event does not arrive, or when the folder stays
// large after a backlog.
func soak(ctx context.Context, s settings, d time.Duration) error {
	rep := &report{}
	if err := rep.machine(s); err != nil {
		return err
	}
	err := measure(ctx, s, row{name: soakName, run: func(b *bench) error { return soakRow(b, d) }}, rep)
	rep.print(os.Stdout)
	return errors.Join(err, rep.missed())
}

func soakRow(b *bench, d time.Duration) error {
	dead, err := deadHooks(1)
	if err != nil {
		return err
	}
	again := []time.Duration{time.Second, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second}
	for len(again) < 20 {
		again = append(again, 10*time.Second)
	}
	dead[0].Schedule = again
	hooks := b.hooks(2)
	hooks[1].URL, hooks[1].Schedule = b.recv.url(flakyPath), again
	spec := sidecarSpec{hooks: append(hooks, dead...), limits: soakLimits}
	return b.with(spec, 2, func(s *sidecar, p *publisher) error {
		if err := b.soakLoad(s, p, d); err != nil {
			return err
		}
		if err := b.recv.reset(); err != nil {
			return err
		}
		return b.soakBacklog(s, spec)
	})
}

// soakLoad measures while the load is on.
func (b *bench) soakLoad(s *sidecar, p *publisher, d time.Duration) error {
	ctx, cancel := context.WithCancelCause(b.ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() {
		err := open(soakRate)(ctx, p)
		cancel(err)
		done <- err
	}()
	samples, err := b.sample(ctx, s, d)
	cancel(errEnough)
	if err := errors.Join(<-done, err); err != nil {
		return err
	}
	if err := b.settle(p); err != nil {
		return err
	}
	b.add("events", float64(p.next), "")
	for i, bound := range soakBounds {
		late := samples[i].after(d / 4) // by then what is bounded is full
		grown, err := late.growth()
		if err != nil {
			return err
		}
		allowed := max(bound.bound, bound.part*late.median())
		b.add(bound.what+", median", late.median(), bound.unit)
		b.rep.addGoal(b.name, bound.what+", growth", grown, bound.unit, goal{false, allowed, bound.unit})
	}
	return nil
}

// sample looks at the sidecar often, for as long as it should be looked at: what soakBounds names, in that order.
func (b *bench) sample(ctx context.Context, s *sidecar, d time.Duration) ([]series, error) {
	all := make([]series, len(soakBounds))
	every := max(200*time.Millisecond, d/400)
	for began := time.Now(); time.Since(began) < d; {
		at := time.Since(began)
		m, err := memoryOf(s.pid())
		if err != nil {
			return nil, err
		}
		goroutines, err := s.metric("go_goroutines")
		if err != nil {
			return nil, err
		}
		descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid()))
		if err != nil {
			return nil, err
		}
		disk, err := diskUsed(s.dir)
		if err != nil {
			return nil, err
		}
		for i, v := range []float64{megabytes(m.anon), goroutines, float64(len(descriptors)), megabytes(disk)} {
			all[i].add(at, v)
		}
		if err := pause(ctx, every); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// soakBacklog publishes events for the dead endpoint, has it live again, waits until all of them have arrived, and then
// for the folder to become small by itself.
func (b *bench) soakBacklog(s *sidecar, spec sidecarSpec) (err error) {
	p, err := b.publisher(s, backlogType, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	backlog := uint64(b.scaled(soakBacklog))
	if err := p.publishAll(b.ctx, backlog, maxOpenBatch); err != nil {
		return err
	}
	pending, err := s.pending()
	if err == nil && uint64(pending) != backlog {
		err = fmt.Errorf("%d deliveries are pending, want %d", pending, backlog)
	}
	if err != nil {
		return err
	}
	full, err := diskUsed(s.dir)
	if err != nil {
		return err
	}
	b.add("disk with the backlog", megabytes(full), "MB")

	last := len(spec.hooks) - 1
	spec.hooks[last].URL = b.recv.url(webhookPath(0))
	if err := os.WriteFile(filepath.Join(s.dir, "webhooks.yaml"), []byte(webhooksYAML(spec.hooks)), 0o600); err != nil {
		return err
	}
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(b.ctx, soakSettle, errors.New("the backlog did not arrive in time"))
	defer cancel()
	if err := b.recv.await(ctx, backlog); err != nil {
		return err
	}
	b.add("backlog delivered within", time.Since(began).Seconds(), "s")
	got, err := b.recv.summary()
	if err != nil {
		return err
	}
	if err := balance(got, backlog, 1); err != nil {
		return err
	}
	return b.awaitSpace(s)
}

// awaitSpace waits until the folder is as small as it should become, and reports how small it is in the end.
func (b *bench) awaitSpace(s *sidecar) error {
	began := time.Now()
	for {
		used, err := diskUsed(s.dir)
		if err != nil {
			return err
		}
		if waited := time.Since(began); megabytes(used) < soakDiskGoal || waited > soakSettle {
			b.rep.addGoal(b.name, soakDisk, megabytes(used), "MB", goal{false, soakDiskGoal, "MB"})
			b.add("disk was given back within", waited.Seconds(), "s")
			return nil
		}
		if err := pause(b.ctx, time.Second); err != nil {
			return err
		}
	}
}

// diskUsed is what the files in a folder take on the disk, in bytes.
func diskUsed(dir string) (sum int64, err error) {
	const block = 512
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // it was removed just now
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			sum += st.Blocks * block
		}
		return nil
	})
	return sum, err
}

// metric reads a number without labels from /metrics.
func (s *sidecar) metric(name string) (float64, error) {
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("/metrics does not tell %s", name)
}
