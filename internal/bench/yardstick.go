package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// yardstickConns is how many connections the yardstick posts over; a sidecar has as many to a webhook by default.
const yardstickConns = 64

const yardstickPath = "/yardstick"

// yardstick measures what a bare net/http client does: requests per second of so many loops that post a body, read the
// answer and post again.
func yardstick(ctx context.Context, r *receiver, bodyBytes int, warmUp, duration time.Duration) (float64, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: yardstickConns, MaxConnsPerHost: yardstickConns}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
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
	rate, err := measureRate(runCtx, r, warmUp, duration)
	cancel()
	loops.Wait()
	select {
	case err = <-failed:
	default:
	}
	if err != nil {
		return 0, fmt.Errorf("yardstick: %w", err)
	}
	return rate, r.reset()
}

func postLoop(ctx context.Context, client *http.Client, url string, bodyBytes int, seq *atomic.Uint64) error {
	body := newBody(bodyBytes)
	for ctx.Err() == nil {
		fillBody(body, seq.Add(1)-1, time.Now())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close() // it was read to its end
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// measureRate is how many deliveries per second arrive during duration, after a warm-up.
func measureRate(ctx context.Context, r *receiver, warmUp, duration time.Duration) (float64, error) {
	if err := pause(ctx, warmUp); err != nil {
		return 0, err
	}
	before, err := r.mark()
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, duration); err != nil {
		return 0, err
	}
	after, err := r.mark()
	if err != nil {
		return 0, err
	}
	return float64(after.Distinct-before.Distinct) / after.Elapsed.Seconds(), nil
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
	client := &http.Client{Transport: transport}
	body := newBody(b.set.payload)
	for s := newSchedule(time.Now(), perSecond); s.await(ctx) == nil; s.n++ {
		fillBody(body, uint64(s.n), s.next())
		resp, err := client.Post(b.recv.url(yardstickPath), "application/json", bytes.NewReader(body))
		if err != nil {
			return summary{}, err
		}
		_, _ = io.Copy(io.Discard, resp.Body) // the answer is empty
		_ = resp.Body.Close()
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
