package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// TestGarbageAtEveryDoor throws what no client would say at every listener, while events go through. Both processes
// live, deliver, stay small and stop in good order.
func TestGarbageAtEveryDoor(t *testing.T) {
	seed := seedOf(t)
	plane := newPlane(t)
	control := plane.start()
	s := plane.newSidecar().open()
	e := newEndpoint(t, "crm")
	plane.webhook(e, "*")
	s.awaitWebhooks(1)

	doors := map[string]string{
		"gRPC": s.grpc, "HTTP": s.http, "admin": s.admin, "unix": s.unix, "xDS": plane.xds, "REST": plane.rest,
	}
	var throwing sync.WaitGroup
	for name, address := range doors {
		for i, junk := range garbage(seed) {
			throwing.Go(func() {
				if err := throw(address, junk); err != nil {
					t.Errorf("%s, garbage %d: %v", name, i, err)
				}
			})
		}
	}
	var ids []string
	for i := range 50 {
		ids = append(ids, fmt.Sprintf("evt_%d", i))
		publish(t, s.unix, "person.created", ids[i])
	}
	throwing.Wait()
	publish(t, s.grpc, "person.created", "evt_last")
	e.awaitArrival(t, append(ids, "evt_last")...)
	for _, p := range []*process{s.process, control} {
		if log := p.log.String(); strings.Contains(log, "panic") {
			t.Errorf("%q panicked", p.name)
		}
		if kb := rssAnon(t, p); kb > 150<<10 {
			t.Errorf("%q has grown to %d KiB", p.name, kb)
		}
		p.stop(syscall.SIGTERM)
	}
}

func garbage(seed uint64) [][]byte {
	random := rand.New(rand.NewPCG(seed, 3))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	preface := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	return [][]byte{
		nil,
		{0},
		noise(1),
		noise(100),
		noise(1 << 20),
		[]byte("GET / HTTP/1.1\r\n"),
		[]byte("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n"),
		[]byte("GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 100_000)),
		[]byte("POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n"),
		[]byte("POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999\r\n\r\n{}"),
		[]byte("POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n"),
		[]byte("POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":[[["),
		bytes.Repeat([]byte("\r\n"), 50_000),
		preface,
		append(bytes.Clone(preface), noise(1<<16)...),
		append(bytes.Clone(preface), []byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1}...), // a frame of 16 MiB
		append(bytes.Clone(preface), bytes.Repeat([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}, 5000)...),
		append(bytes.Clone(preface), bytes.Repeat([]byte{0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8}, 5000)...), // resets
		{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3},                                                               // the start of a TLS handshake
	}
}

// throw writes junk and reads what comes until the other side closes or says nothing for a moment. Only a door that is
// shut is an error.
func throw(address string, junk []byte) error {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	conn, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := conn.Write(junk); err != nil {
		return nil // it has heard enough
	}
	_, _ = io.Copy(io.Discard, conn)
	return nil
}

// rssAnon is the memory of a process that is its own, in KiB.
func rssAnon(t *testing.T, p *process) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			kb, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return kb
		}
	}
	t.Fatal("the kernel does not tell")
	return 0
}

// TestRefusals: what is too large or wrong is refused in the words of each door, naming the field, and nothing of it is
// stored or delivered.
func TestRefusals(t *testing.T) {
	plane := newPlane(t)
	control := plane.start()
	s := plane.newSidecar().open()
	e := newEndpoint(t, "crm")
	plane.webhook(e, "*")
	s.awaitWebhooks(1)
	events := eventsv1.NewEventServiceClient(dialEvents(t, s.grpc))
	large := `"` + strings.Repeat("x", 300<<10) + `"`

	for name, bad := range map[string]struct {
		change func(*eventsv1.Event)
		code   codes.Code
		says   string
	}{
		"no type":       {func(e *eventsv1.Event) { e.Type = "" }, codes.InvalidArgument, "events[1].type"},
		"no id":         {func(e *eventsv1.Event) { e.Id = "" }, codes.InvalidArgument, "events[1].id"},
		"line break":    {func(e *eventsv1.Event) { e.Id = "a\r\nb: c" }, codes.InvalidArgument, "events[1].id"},
		"not JSON":      {func(e *eventsv1.Event) { e.Data = []byte("{") }, codes.InvalidArgument, "events[1].data"},
		"another app":   {func(e *eventsv1.Event) { e.App = "other" }, codes.NotFound, "other"},
		"too much data": {func(e *eventsv1.Event) { e.Data = []byte(large) }, codes.ResourceExhausted, "events[1].data"},
	} {
		wrong := newEvent("evt_wrong", "person.created")
		bad.change(wrong)
		_, err := events.Publish(t.Context(), &eventsv1.PublishRequest{
			Events: []*eventsv1.Event{newEvent("evt_beside", "person.created"), wrong},
		})
		if status.Code(err) != bad.code || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%s: %v, want %s with %q", name, err, bad.code, bad.says)
		}
	}

	for _, c := range []struct {
		name, method, url, body, token string
		status                         int
		says                           string
	}{
		{"event too large", "POST", "http://" + s.http + "/v1/events", `{"specversion":"1.0","id":"evt_wrong","source":"/e","type":"a.b","data":` + large + `}`, "", 413, "data"},
		{"event without type", "POST", "http://" + s.http + "/v1/events", `{"specversion":"1.0","id":"evt_wrong","source":"/e"}`, "", 400, "type"},
		{"no token", "GET", "http://" + plane.rest + "/v1/apps", "", "", 401, "token"},
		{"wrong token", "GET", "http://" + plane.rest + "/v1/apps", "", "sht_wrong", 401, "token"},
		{"webhook to nowhere", "POST", "http://" + plane.rest + "/v1/apps/demo/webhooks", `{"name":"x","url":"ftp://a/","events":["*"]}`, plane.token(), 422, "url"},
		{"webhook without events", "POST", "http://" + plane.rest + "/v1/apps/demo/webhooks", `{"name":"x","url":"http://a/","events":[]}`, plane.token(), 422, "events"},
		{"header injection", "POST", "http://" + plane.rest + "/v1/apps/demo/webhooks", `{"name":"x","url":"http://a/","events":["*"],"headers":[{"key":"A","value":"b\r\nHost: c"}]}`, plane.token(), 422, "headers[0]"},
		{"webhook too large", "POST", "http://" + plane.rest + "/v1/apps/demo/webhooks", `{"name":` + large + `}`, plane.token(), 413, ""},
		{"query that is no state", "GET", "http://" + s.admin + "/deliveries?state=lost", "", "", 400, "state"},
	} {
		expectProblem(t, c.name, c.method, c.url, c.body, c.token, c.status, c.says)
	}
	s.awaitIdle()
	if n := len(e.first()); n > 0 {
		t.Errorf("%d requests arrived for events that were refused", n)
	}
	if n := s.metric(`sidehook_events_total{disposition="accepted"}`); n != "0" {
		t.Errorf("%s events were accepted", n)
	}
	s.stop(syscall.SIGTERM)
	control.stop(syscall.SIGTERM)
}

func expectProblem(t *testing.T, name, method, url, body, token string, status int, says string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if strings.HasSuffix(url, "/v1/events") {
		req.Header.Set("Content-Type", "application/cloudevents+json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := web.Do(req)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if resp.StatusCode != status || !strings.Contains(string(text), says) {
		t.Errorf("%s: %s %s, want %d with %q", name, resp.Status, text, status, says)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("%s: the answer is %q", name, kind)
	}
}

// TestPlainListenerRefusesTLS: a client that speaks TLS to a plain listener learns that at once.
func TestPlainListenerRefusesTLS(t *testing.T) {
	pl := newPlace(t, "config_file: webhooks.yaml", "")
	pl.write("webhooks.yaml", "apps: [{id: demo}]\n")
	s := pl.open()
	for _, address := range []string{s.grpc, s.http, s.admin} {
		dialer := &net.Dialer{Timeout: 20 * time.Second}
		conn, err := tls.DialWithDialer(dialer, "tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			_ = conn.Close()
			t.Errorf("%s speaks TLS", address)
		} else if strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s lets a TLS client wait", address)
		}
	}
	s.stop(syscall.SIGTERM)
}
