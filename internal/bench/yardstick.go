package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// yardstickConns is how many connections the yardstick posts over; a sidecar has as many to a webhook by default.
const yardstickConns = 64

const yardstickPath = "/yardstick"

// stick is what the yardstick showed.
type stick struct {
	rate float64 // requests per second
	cpu  float64 // seconds per 10,000 requests, of client and receiver together
}

func mean(a, b stick) stick { return stick{(a.rate + b.rate) / 2, (a.cpu + b.cpu) / 2} }

// yardstick measures what a bare net/http client does: so many loops that post a body, read the answer and post again.
func yardstick(ctx context.Context, r *receiver, bodyBytes int, warmUp, duration time.Duration) (stick, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: yardstickConns, MaxConnsPerHost: yardstickConns}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: answerTimeout}
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()

	var seq atomic.Uint64
	var loops sync.WaitGroup
	failed := make(chan error, yardstickConns)
	for range yardstickConns {
		loops.Go(func() {
			if err := postLoop(runCtx, client, r.url(yardstickPath), bodyBytes, &seq); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	result, err := measureStick(runCtx, r, warmUp, duration)
	cancel()
	loops.Wait()
	select {
	case err = <-failed:
	default:
	}
	if err != nil {
		return stick{}, fmt.Errorf("yardstick: %w", err)
	}
	return result, r.reset()
}

// answerTimeout is when the receiver counts as stuck.
const answerTimeout = 20 * time.Second

// postLoop ends with ctx, but never amid a request: it would arrive after the receiver has been reset.
func postLoop(ctx context.Context, client *http.Client, url string, bodyBytes int, seq *atomic.Uint64) error {
	body := newBody(bodyBytes)
	for ctx.Err() == nil {
		fillBody(body, seq.Add(1)-1, time.Now())
		if err := post(client, url, body); err != nil {
			return err
		}
	}
	return nil
}

// post posts a body and reads the answer.
func post(client *http.Client, url string, body []byte) error {
	resp, err := client.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// measureStick measures what arrives during duration, after a warm-up.
func measureStick(ctx context.Context, r *receiver, warmUp, duration time.Duration) (stick, error) {
	if err := pause(ctx, warmUp); err != nil {
		return stick{}, err
	}
	cpuBefore, err := cpuOf(os.Getpid(), r.cmd.Process.Pid)
	if err != nil {
		return stick{}, err
	}
	before, err := r.mark()
	if err != nil {
		return stick{}, err
	}
	if err := pause(ctx, duration); err != nil {
		return stick{}, err
	}
	after, err := r.mark()
	if err != nil {
		return stick{}, err
	}
	cpuAfter, err := cpuOf(os.Getpid(), r.cmd.Process.Pid)
	n := float64(after.Distinct - before.Distinct)
	return stick{rate: n / after.Elapsed.Seconds(), cpu: (cpuAfter - cpuBefore).Seconds() * 10_000 / n}, err
}

// pause waits for d, or for the end of ctx, whose cause it returns.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// postLatency measures an open loop of bare requests, one at a time, as the yardstick of latencyRow.
func (b *bench) postLatency(perSecond float64) (summary, error) {
	ctx, cancel := context.WithTimeoutCause(b.ctx, min(5*time.Second, b.set.duration), errEnough)
	defer cancel()
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: answerTimeout}
	body := newBody(b.set.payload)
	for s := newSchedule(time.Now(), perSecond); s.await(ctx) == nil; s.n++ {
		fillBody(body, uint64(s.n), s.next())
		if err := post(client, b.recv.url(yardstickPath), body); err != nil {
			return summary{}, err
		}
	}
	if b.ctx.Err() != nil {
		return summary{}, context.Cause(b.ctx)
	}
	got, err := b.recv.summary()
	if err != nil {
		return got, err
	}
	return got, b.recv.reset()
}
