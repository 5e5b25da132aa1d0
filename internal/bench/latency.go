package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// latencyRow measures an open loop so slow that every event finds the sidecar idle. What it takes then is mostly to be
// woken, several times: the parts that nobody can do without are measured by themselves, at the same rate in the same
// run, so that the figure can be judged by what is left.
//
// An event's way is a message of a stream, a synced write, and a POST, one after the other. So the parts that add up are the
// way of a message in one direction, a write to a place that was written before, as the sidecar's log makes its places, and
// a bare POST up to its arrival.
func latencyRow(b *bench) error {
	const perSecond = 50
	post, err := b.postLatency(perSecond)
	if err != nil {
		return err
	}
	disk, err := b.diskLatency(perSecond)
	if err != nil {
		return err
	}
	rpc, err := b.echoLatency(perSecond)
	if err != nil {
		return err
	}
	return b.with(sidecarSpec{hooks: b.hooks(1)}, 1, func(s *sidecar, p *publisher) error {
		f, err := b.run(s, p, open(perSecond))
		if err != nil {
			return err
		}
		ms := func(ns int64) float64 { return float64(ns) / 1e6 }
		b.add("bare POST p50", ms(post.P50), "ms")
		b.add("bare POST p99", ms(post.P99), "ms")
		b.add("bare fdatasync of 4 KiB appended, p50", ms(disk.appended.P50), "ms")
		b.add("bare fdatasync of 4 KiB appended, p99", ms(disk.appended.P99), "ms")
		b.add("bare fdatasync of 4 KiB over what was written, p50", ms(disk.again.P50), "ms")
		b.add("bare fdatasync of 4 KiB over what was written, p99", ms(disk.again.P99), "ms")
		b.add("bare gRPC stream, one way, p50", ms(rpc.oneWay.P50), "ms")
		b.add("bare gRPC stream, there and back, p50", ms(rpc.stream.P50), "ms")
		b.add("bare gRPC call, there and back, p50", ms(rpc.call.P50), "ms")
		b.add(rate, f.rate, "/s")
		b.addLatency(f.latency)
		parts := rpc.oneWay.P50 + disk.again.P50 + post.P50
		b.add("p50, sum of the bare parts (stream one way, fdatasync, POST)", ms(parts), "ms")
		b.add("p50, ratio to the sum of the bare parts", float64(f.latency.P50)/float64(parts), "×")
		b.add("p50, ratio to the bare POST", float64(f.latency.P50)/float64(post.P50), "×")
		b.addCost(f)
		return nil
	})
}

// partTime is for how long each part of latencyRow is measured.
const partTime = 3 * time.Second

// spaced calls f so many times per second, one call at a time, and returns how long they took.
func (b *bench) spaced(perSecond float64, f func(n int64, now time.Time) error) (summary, error) {
	ctx, cancel := context.WithTimeoutCause(b.ctx, min(partTime, b.set.duration), errEnough)
	defer cancel()
	took := newHistogram()
	for s := newSchedule(time.Now(), perSecond); s.await(ctx) == nil; s.n++ {
		began := time.Now()
		if err := f(s.n, began); err != nil {
			return summary{}, err
		}
		record(took, time.Since(began))
	}
	if b.ctx.Err() != nil {
		return summary{}, context.Cause(b.ctx)
	}
	return histogramSummary(took), nil
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(int64(d), fastest), slowest)) // it is within the bounds
}

// diskParts are how long a synced write of a page takes where the file grows, and where it does not.
type diskParts struct{ appended, again summary }

func (b *bench) diskLatency(perSecond float64) (parts diskParts, err error) {
	f, err := os.Create(filepath.Join(b.dir, "sync"))
	if err != nil {
		return parts, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	const page = 4 << 10
	writeTo := func(n int64, _ time.Time) error {
		if _, err := f.WriteAt(noise[n*page%int64(len(noise)):][:page], n*page); err != nil {
			return err
		}
		return os.NewSyscallError("fdatasync", syscall.Fdatasync(int(f.Fd())))
	}
	if parts.appended, err = b.spaced(perSecond, writeTo); err != nil {
		return parts, err
	}
	parts.again, err = b.spaced(perSecond, func(n int64, now time.Time) error {
		return writeTo(n%parts.appended.Samples, now)
	})
	return parts, err
}

// rpcParts are how long a message with an event takes to a server that does nothing with it: until it is there, and until
// the answer is back.
type rpcParts struct{ oneWay, stream, call summary }

func (b *bench) echoLatency(perSecond float64) (parts rpcParts, err error) {
	conn, err := grpc.NewClient("passthrough:///"+b.recv.rpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return parts, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	client := eventsv1.NewEventServiceClient(conn)
	stream, err := client.PublishStream(ctx)
	if err != nil {
		return parts, err
	}
	event := &eventsv1.Event{
		Id: "1", Source: "/bench", Type: liveType, DataContentType: "application/json", Data: newBody(b.set.payload - envelope),
	}
	events := []*eventsv1.Event{event}
	parts.stream, err = b.spaced(perSecond, func(n int64, now time.Time) error {
		fillBody(event.Data, uint64(n), now)
		if err := stream.Send(&eventsv1.PublishStreamRequest{Sequence: uint64(n), Events: events}); err != nil {
			return err
		}
		_, err := stream.Recv()
		return err
	})
	if err != nil {
		return parts, fmt.Errorf("stream to the receiver: %w", err)
	}
	if parts.oneWay, err = b.recv.summary(); err != nil {
		return parts, err
	}
	parts.call, err = b.spaced(perSecond, func(n int64, now time.Time) error {
		fillBody(event.Data, uint64(n), now)
		_, err := client.Publish(ctx, &eventsv1.PublishRequest{Events: events})
		return err
	})
	if err != nil {
		return parts, fmt.Errorf("call to the receiver: %w", err)
	}
	return parts, b.recv.reset()
}
