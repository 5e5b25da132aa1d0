package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

const app = "demo"

// receiver is a webhook with the inbox bin it delivers to.
type receiver struct {
	bin, name   string
	events      []string
	transformer string
	failFirst   int
	note        string
}

var receivers = []receiver{
	{bin: "streaming", name: "Streaming dashboard", events: []string{"livestream.*", "dai.*", "mediaVOD.*"}},
	{bin: "mailing", name: "Mailing list", events: []string{"person.*"}, transformer: "redact", note: "through the transformer redact"},
	{bin: "books", name: "Bookkeeping", events: []string{"payment_received"}, failFirst: 2, note: "answers 503 twice, then recovers"},
	{bin: "archive", name: "Archive", events: []string{"*"}, note: "wants everything"},
}

// prepare makes the webhooks in the control plane and tells the inbox their secrets.
func (d *dev) prepare(ctx context.Context, s *screen) ([]receiver, error) {
	for _, r := range receivers {
		body := map[string]any{
			"name": r.name, "url": "http://" + d.inbox + "/in/" + r.bin, "events": r.events,
			"retry_policy": map[string]any{"schedule": []string{"1s", "2s", "4s"}},
		}
		if r.transformer != "" {
			body["transformer"] = r.transformer
		}
		var created struct{ ID, Secret string }
		if err := d.call(ctx, http.MethodPost, "http://"+d.rest+"/v1/apps/"+app+"/webhooks", body, &created); err != nil {
			return nil, err
		}
		settings := map[string]any{"secrets": []string{created.Secret}, "fail_first": r.failFirst}
		if err := d.call(ctx, http.MethodPut, "http://"+d.inbox+"/bins/"+r.bin, settings, nil); err != nil {
			return nil, err
		}
		s.webhook(r, created.ID)
	}
	return receivers, d.awaitWebhooks(ctx, len(receivers))
}

// awaitWebhooks waits until the control plane has pushed the webhooks to the sidecar.
func (d *dev) awaitWebhooks(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the webhooks did not reach the sidecar"))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var got struct{ Data []struct{ Phase string } }
		if err := d.call(ctx, http.MethodGet, "http://"+d.admin+"/webhooks", nil, &got); err != nil {
			return err
		}
		if len(got.Data) >= want {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// call makes a JSON request.
func (d *dev) call(ctx context.Context, method, url string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s answered %s: %s", method, url, resp.Status, answer)
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// emit publishes the scenes as a service does, and returns how many verified deliveries are to come.
func (d *dev) emit(ctx context.Context, o options, s *screen, arrived *arrivals) (int, error) {
	conn, err := grpc.NewClient(d.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	events := eventsv1.NewEventServiceClient(conn)
	expected := 0
	for i, sc := range scenes(time.Now()) {
		data, err := sc.payload()
		if err != nil {
			return 0, err
		}
		now := time.Now()
		answer, err := events.Publish(ctx, &eventsv1.PublishRequest{Events: []*eventsv1.Event{{
			App: app, Id: fmt.Sprintf("evt_%d_%02d", now.Unix(), i+1), Source: "/demo/" + strings.ReplaceAll(sc.product, " ", "-"),
			Type: sc.typ, Subject: sc.subject, Time: timestamppb.New(now), Data: data,
		}}})
		if err != nil {
			return 0, fmt.Errorf("publish %s: %w", sc.typ, err)
		}
		n := int(answer.GetResults()[0].GetDeliveries())
		expected += n
		s.emitted(sc, n, time.Since(now))
		if err := arrived.showFor(ctx, s, o.pace); err != nil {
			return 0, err
		}
	}
	return expected, nil
}

// arrival is one request at the inbox.
type arrival struct {
	bin     string
	at      time.Time
	Headers http.Header
	Body    string
	Status  int `json:"answered"`
	Repeat  int
	Verdict struct {
		OK     bool
		Reason string
	}
}

// arrivals collects what the inbox gets.
type arrivals struct {
	ch       chan arrival
	errs     chan error
	cancel   context.CancelFunc
	running  sync.WaitGroup
	verified int
	failed   int
	broken   []string
}

// watch follows the bins.
func (d *dev) watch(ctx context.Context, rs []receiver) (*arrivals, error) {
	ctx, cancel := context.WithCancel(ctx)
	a := &arrivals{ch: make(chan arrival, 64), errs: make(chan error, len(rs)), cancel: cancel}
	for _, r := range rs {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.inbox+"/bins/"+r.bin+"/stream", nil)
		if err != nil {
			cancel()
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			cancel()
			return nil, err
		}
		a.running.Go(func() {
			defer resp.Body.Close()
			if err := a.follow(ctx, r.bin, resp.Body); err != nil && ctx.Err() == nil {
				a.errs <- err
			}
		})
	}
	return a, nil
}

// follow reads server-sent events: those of arrivals, among others about the bin.
func (a *arrivals) follow(ctx context.Context, bin string, body io.Reader) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	kind := ""
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			kind = name
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || kind != "arrival" {
			continue
		}
		got := arrival{bin: bin, at: time.Now()}
		if err := json.Unmarshal([]byte(data), &got); err != nil {
			return fmt.Errorf("inbox bin %s: %w", bin, err)
		}
		select {
		case a.ch <- got:
		case <-ctx.Done():
			return nil
		}
	}
	return fmt.Errorf("inbox bin %s: the stream ended: %w", bin, errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}

func (a *arrivals) close() {
	a.cancel()
	a.running.Wait()
}

// showFor shows what arrives for a while.
func (a *arrivals) showFor(ctx context.Context, s *screen, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case got := <-a.ch:
			a.take(s, got)
		case <-timer.C:
			return nil
		case err := <-a.errs:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// await shows what arrives until everything expected has.
func (a *arrivals) await(ctx context.Context, s *screen, expected int) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for a.verified < expected {
		select {
		case got := <-a.ch:
			a.take(s, got)
		case err := <-a.errs:
			return err
		case <-timeout.C:
			return fmt.Errorf("%d of %d deliveries arrived within %s", a.verified, expected, patience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (a *arrivals) take(s *screen, got arrival) {
	switch {
	case !got.Verdict.OK:
		a.broken = append(a.broken, got.bin+": "+got.Verdict.Reason)
	case got.Status >= 300:
		a.failed++
	default:
		a.verified++
	}
	s.arrived(got)
}

// verdict is an error when a signature did not hold.
func (a *arrivals) verdict() error {
	if len(a.broken) > 0 {
		return fmt.Errorf("signatures did not hold: %s", strings.Join(a.broken, "; "))
	}
	return nil
}
