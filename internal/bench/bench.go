package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// bench is what a row has to measure with.
type bench struct {
	ctx  context.Context
	set  settings
	name string
	rep  *report
	recv *receiver
	dir  string
	keys uint64 // how many ordering keys the events have; 0: none
}

func newBench(ctx context.Context, s settings, name string, rep *report) (*bench, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	base, err := filepath.Abs(s.dir)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(base, "bench-")
	if err != nil {
		return nil, err
	}
	recv, err := startReceiver()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &bench{ctx: ctx, set: s, name: name, rep: rep, recv: recv, dir: dir}, nil
}

func (b *bench) close() error {
	return errors.Join(b.recv.stop(), os.RemoveAll(b.dir))
}

// scaled is a size of the row, or the part of it that was asked for.
func (b *bench) scaled(n int) int { return max(1, int(float64(n)*b.set.scale)) }

// add reports a figure of the row.
func (b *bench) add(metric string, value float64, unit string) {
	b.rep.add(b.name, metric, value, unit)
}

// yardstick runs the yardstick for a while.
func (b *bench) yardstick() (stick, error) {
	return yardstick(b.ctx, b.recv, b.set.payload, time.Second, min(4*time.Second, b.set.duration))
}

// sidecar configures and starts a sidecar in a folder of its own. Its data are new.
func (b *bench) sidecar(spec sidecarSpec) (*sidecar, error) {
	dir, err := os.MkdirTemp(b.dir, "s-")
	if err != nil {
		return nil, err
	}
	spec.door = b.set.door
	var config *configServer
	address := ""
	if spec.overXDS {
		if config, err = serveConfig(spec.hooks); err != nil {
			return nil, err
		}
		address = config.address
	}
	s, err := b.startIn(dir, spec, address)
	if err != nil {
		if config != nil {
			err = errors.Join(err, config.stop())
		}
		return nil, err
	}
	s.hangs, s.config = spec.hangs, config
	return s, nil
}

func (b *bench) startIn(dir string, spec sidecarSpec, address string) (*sidecar, error) {
	if err := writeConfig(dir, spec, address); err != nil {
		return nil, err
	}
	return startSidecar(b.ctx, b.set.binary, dir, spec.env...)
}

// publisher connects to a sidecar that has fanOut webhooks for events of a type.
func (b *bench) publisher(s *sidecar, eventType string, fanOut int) (*publisher, error) {
	address := s.grpc
	if b.set.door == doorUnix {
		address = s.unix
	}
	p, err := newPublisher(b.ctx, address, eventType, b.set.payload, max(b.set.batch, maxOpenBatch), uint32(fanOut))
	if err == nil {
		p.keys = b.keys
	}
	return p, err
}

// maxOpenBatch is how many events of an open loop that are due together go into one batch.
const maxOpenBatch = 500

// hooks are n webhooks at the receiver that want the events that are measured.
func (b *bench) hooks(n int) []hook {
	hooks := make([]hook, n)
	for i := range hooks {
		hooks[i] = hook{URL: b.recv.url(webhookPath(i)), Event: liveType}
	}
	return hooks
}

// deadHooks are n webhooks for the backlog, at an address where nobody listens.
func deadHooks(n int) ([]hook, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0") // the port was free just now, and the kernel gives it out again late
	if err != nil {
		return nil, err
	}
	hooks := make([]hook, n)
	for i := range hooks {
		hooks[i] = hook{URL: "http://" + lis.Addr().String() + webhookPath(i), Event: backlogType}
	}
	return hooks, lis.Close()
}

// load is something that publishes until its context ends.
type load func(ctx context.Context, p *publisher) error

// figures are what a run under load showed.
type figures struct {
	rate       float64 // distinct deliveries per second
	events     float64 // acknowledged per second
	deliveries float64 // while measured
	latency    summary
	cpu        time.Duration // of the sidecar, while measured
	allCPU     time.Duration // of sidecar, receiver and publisher
	written    int64         // as cpu
	memory     memory        // the most
	refusals   int
	others     float64 // attempts at endpoints that are in trouble
}

// cost is the CPU time of all processes for a delivery that counts, in seconds; ownCost that of the sidecar.
func (f figures) cost() float64    { return f.allCPU.Seconds() / f.deliveries }
func (f figures) ownCost() float64 { return f.cpu.Seconds() / f.deliveries }

// run puts load on a sidecar, measures it after the warm-up, waits until everything has arrived, and checks the ledger.
func (b *bench) run(s *sidecar, p *publisher, l load) (figures, error) {
	f, err := b.underLoad(s, p, l)
	if err != nil {
		return f, err
	}
	err = b.settle(p)
	f.refusals = p.refusedBatches()
	return f, err
}

// underLoad puts load on a sidecar, measures it after the warm-up, and ends the load.
func (b *bench) underLoad(s *sidecar, p *publisher, l load) (f figures, err error) {
	ctx, cancel := context.WithCancelCause(b.ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() {
		err := l(ctx, p)
		cancel(err)
		done <- err
	}()
	err = b.measure(ctx, s, p, &f)
	cancel(errEnough)
	return f, errors.Join(<-done, err)
}

var errEnough = errors.New("measured enough")

// measure fills f while load is on.
func (b *bench) measure(ctx context.Context, s *sidecar, p *publisher, f *figures) (err error) {
	if err := pause(ctx, b.set.warmUp); err != nil {
		return err
	}
	if b.set.profile != "" {
		if err := os.MkdirAll(b.set.profile, 0o700); err != nil {
			return err
		}
		stop, err := s.record(filepath.Join(b.set.profile, fmt.Sprintf("%s-%d.perf", b.name, s.pid())))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	stopMemory := watchMemory(s.pid())
	used, err := usageOf(s.pid())
	if err != nil {
		return err
	}
	others, err := cpuOf(os.Getpid(), b.recv.cmd.Process.Pid)
	if err != nil {
		return err
	}
	acked := p.ackedEvents()
	before, err := b.recv.mark()
	if err != nil {
		return err
	}
	pauseErr := pause(ctx, b.set.duration)
	after, err := b.recv.mark()
	if err != nil || pauseErr != nil {
		return errors.Join(pauseErr, err)
	}
	f.deliveries = float64(after.Distinct - before.Distinct)
	f.rate = f.deliveries / after.Elapsed.Seconds()
	f.events = float64(p.ackedEvents()-acked) / after.Elapsed.Seconds()
	f.latency = after
	usedNow, err := usageOf(s.pid())
	if err != nil {
		return err
	}
	f.cpu, f.written = usedNow.cpu-used.cpu, usedNow.writeBytes-used.writeBytes
	othersNow, err := cpuOf(os.Getpid(), b.recv.cmd.Process.Pid)
	if err != nil {
		return err
	}
	f.allCPU = f.cpu + othersNow - others
	f.memory, err = stopMemory()
	return err
}

// drainTimeout bounds how long deliveries are awaited after the load.
const drainTimeout = 20 * time.Second

// settle waits until everything published is acknowledged and has arrived, and checks that it did, everywhere.
func (b *bench) settle(p *publisher) error {
	ctx, cancel := context.WithTimeoutCause(b.ctx, drainTimeout, fmt.Errorf("not everything arrived within %s", drainTimeout))
	defer cancel()
	if err := p.finish(ctx); err != nil {
		return err
	}
	want := p.next * uint64(p.arrive)
	awaitErr := b.recv.await(ctx, want)
	got, err := b.recv.summary()
	if err != nil {
		return errors.Join(awaitErr, err)
	}
	if err := balance(got, p.next, int(p.arrive)); err != nil {
		return errors.Join(awaitErr, err)
	}
	if repeats := got.Arrivals - got.Distinct; repeats > 0 {
		b.add("repeated deliveries", float64(repeats), "")
	}
	return awaitErr
}

// balance checks that each of so many acknowledged events arrived at each of so many webhooks, and nothing else.
func balance(got summary, events uint64, webhooks int) error {
	if got.Strange > 0 {
		return fmt.Errorf("%d requests arrived that hold no event", got.Strange)
	}
	if got.Disorder > 0 {
		return fmt.Errorf("%d deliveries arrived after a later one of their key", got.Disorder)
	}
	if len(got.Paths) != webhooks && events > 0 {
		return fmt.Errorf("deliveries arrived at %d webhooks, want %d", len(got.Paths), webhooks)
	}
	for path, p := range got.Paths {
		if p.Distinct != events || p.Below != events {
			return fmt.Errorf("%d events were acknowledged; %d arrived at %s, the last being %d", events, p.Distinct, path, p.Below)
		}
	}
	return nil
}

// diskWarning says why a folder is no disk, or nothing.
func diskWarning(dir string) string {
	const tmpfs = 0x01021994
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil && int64(fs.Type) == tmpfs {
		return dir + " is in memory, not on a disk"
	}
	return ""
}
