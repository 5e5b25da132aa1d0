package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// newCountedH2 is a counted endpoint that speaks HTTP/2 over TLS, and complains of requests over anything else.
func newCountedH2(t *testing.T, name string, own *authority) *counted {
	t.Helper()
	c := &counted{endpoint: newEndpoint(t, name)}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			c.mu.Lock()
			c.complain("a request came over %s", r.Proto)
			c.mu.Unlock()
		}
		c.endpoint.ServeHTTP(w, r)
	}))
	srv.EnableHTTP2 = true
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{own.issue(name, []string{"127.0.0.1", outside})}}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			c.conns.Add(1)
		}
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c.url = srv.URL + "/in"
	return c
}

// overBadHTTP2 is overBadNetwork with endpoints that speak HTTP/2.
func overBadHTTP2(t *testing.T, policy string) (s *sidecar, good, bad *counted, network *badNetwork) {
	t.Helper()
	own := newAuthority(t, "corp")
	good, bad = newCountedH2(t, "good", own), newCountedH2(t, "bad", own)
	network = newBadNetwork(t, strings.Replace(bad.url, "https://", "http://", 1))
	network.url = strings.Replace(network.url, "http://", "https://", 1)
	pl := newPlace(t, "config_file: webhooks.yaml", "outbound: {allow_loopback: true, ca_file: ca.pem}\n")
	pl.files("ca", own.cert)
	pl.write("webhooks.yaml", fmt.Sprintf(`apps:
  - id: demo
    webhooks:
      - {id: good, url: %q, events: ["*"], secrets: [{id: s, key: %s}]}
      - {id: bad, url: %q, events: ["*"], secrets: [{id: s, key: %s}], %s}
`, good.url, good.secret.Reveal(), network.url, bad.secret.Reveal(), policy))
	return pl.open(), good, bad, network
}

// resetsWhenCut has the connections made from now on end with a reset instead of an orderly close when a toxic cuts
// them: toxiproxy prepares sockets for that when it finds a reset toxic, also one that never strikes.
func (n *badNetwork) resetsWhenCut() {
	n.t.Helper()
	toxic := `{"name": "linger", "type": "reset_peer", "stream": "downstream", "toxicity": 0, "attributes": {"timeout": 0}}`
	if _, err := n.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		n.t.Fatal(err)
	}
}

// publishLarge emits an event with 60 KB of data.
func publishLarge(t *testing.T, events eventsv1.EventServiceClient, ids ...string) {
	t.Helper()
	for _, id := range ids {
		e := newEvent(id, "person.created")
		data, err := json.Marshal(map[string]string{"n": id, "filler": strings.Repeat("x", 60_000)})
		if err != nil {
			t.Fatal(err)
		}
		e.Data = data
		if _, err := events.Publish(t.Context(), &eventsv1.PublishRequest{Events: []*eventsv1.Event{e}}, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNetworkHTTP2Slow: what a slow network brings in time is delivered at the first attempt, all of it over the one
// connection that an endpoint with HTTP/2 needs.
func TestNetworkHTTP2Slow(t *testing.T) {
	for _, tc := range []struct {
		kind, attributes string
		deliveries       int
	}{
		{"latency", `{"latency": 60, "jitter": 30}`, 300},
		{"bandwidth", `{"rate": 64}`, 300},
		{"slicer", `{"average_size": 7, "size_variation": 3, "delay": 50}`, 40}, // 200 slices each, one after the other
		{"slow_close", `{"delay": 300}`, 300},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			s, good, bad, network := overBadHTTP2(t, patientPolicy)
			network.poison(tc.kind, "upstream", tc.attributes)
			network.poison(tc.kind, "downstream", tc.attributes)
			ids := numbered("evt_"+tc.kind, tc.deliveries)
			publish(t, s.grpc, "person.created", ids...)
			good.awaitArrival(t, ids...)
			bad.awaitArrival(t, ids...)
			s.awaitIdle()
			if failed := s.failuresOf("bad"); len(failed) > 0 {
				t.Errorf("attempts failed: %q", failed)
			}
			if b, g := bad.conns.Load(), good.conns.Load(); b != 1 || g != 1 {
				t.Errorf("%d connections over the bad network and %d beside it, want one each", b, g)
			}
			s.stop(syscall.SIGTERM)
		})
	}
}

// TestNetworkHTTP2GoodbyeClosesSlowly: an endpoint that takes leave of its connections (GOAWAY), over a network that
// takes its time to close them, costs no attempt. Of deliveries that are under way together it can: each is sent again
// four times at most, on connections that may have got their goodbye from another of them.
func TestNetworkHTTP2GoodbyeClosesSlowly(t *testing.T) {
	s, good, bad, network := overBadHTTP2(t, patientPolicy)
	bad.hang(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Connection", "close") // GOAWAY
		w.WriteHeader(bad.take(r, body))
	}))
	network.poison("slow_close", "upstream", `{"delay": 2000}`)
	network.poison("slow_close", "downstream", `{"delay": 2000}`)
	events := eventsv1.NewEventServiceClient(dialEvents(t, s.grpc))
	for _, id := range numbered("evt", 20) { // one after the other
		publishOn(t, events, id)
		good.awaitArrival(t, id)
		bad.awaitArrival(t, id)
		s.awaitIdle()
	}
	if failed := s.failuresOf("bad"); len(failed) > 0 {
		t.Errorf("attempts failed: %q", failed)
	}
	if n := bad.conns.Load(); n < 1 || n > 20 {
		t.Errorf("%d connections for 20 deliveries with 20 goodbyes", n)
	}
	together := numbered("evt_together", 40)
	publish(t, s.grpc, "person.created", together...)
	good.awaitArrival(t, together...)
	bad.awaitArrival(t, together...)
	s.awaitIdle()
	failed := s.failuresOf("bad")
	t.Logf("%d of %d deliveries that were under way together failed once or more", len(failed), len(together))
	for _, text := range failed {
		if !strings.HasPrefix(text, "connection ended by the receiver ") && !strings.HasPrefix(text, "connection closed by the receiver ") {
			t.Errorf("an attempt failed with %q", text)
		}
	}
	s.stop(syscall.SIGTERM)
}

// TestNetworkHTTP2Cuts: a network that cuts, throttles to death or swallows what goes through costs attempts and no
// deliveries. The history says in plain words what happened; what failed succeeds when the trouble is over; connections
// stay few; the endpoint beside it notices nothing.
func TestNetworkHTTP2Cuts(t *testing.T) {
	impatient := strings.Replace(patientPolicy, "30s", "1500ms", 1)
	for _, tc := range []struct {
		name       string
		policy     string
		toxics     [][3]string // kind, direction, attributes
		answers    http.HandlerFunc
		large      bool
		says       string   // of the first attempt that fails
		status     int      // of that attempt
		afterwards []string // what attempts may say on connections that are made meanwhile
	}{
		{
			name: "reset when anything comes back", policy: patientPolicy,
			toxics: [][3]string{{"reset_peer", "downstream", `{"timeout": 0}`}},
			says:   "TLS: connection closed by the receiver during the handshake", // the kept connection was given up for a new one
		},
		{
			name: "reset in the request", policy: patientPolicy, large: true,
			toxics:     [][3]string{{"limit_data", "upstream", `{"bytes": 20000}`}},
			says:       "connection ",
			afterwards: []string{"TLS: connection closed by the receiver during the handshake"},
		},
		{
			name: "reset in the response body", policy: patientPolicy,
			toxics: [][3]string{{"limit_data", "downstream", `{"bytes": 700}`}},
			answers: func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, strings.Repeat("x", 100))
				_ = http.NewResponseController(w).Flush()
				_, _ = io.WriteString(w, strings.Repeat("y", 3000))
			},
			says: "connection reset by the receiver while reading the response body", status: 200,
			afterwards: []string{"TLS: connection closed by the receiver during the handshake"},
		},
		{
			name: "latency beyond the timeout", policy: impatient,
			toxics: [][3]string{{"latency", "downstream", `{"latency": 20000}`}},
			says:   "timeout after 1.5s waiting for the response", afterwards: []string{"timeout after "},
		},
		{
			name: "throttled beyond the timeout", policy: impatient, large: true,
			toxics: [][3]string{{"bandwidth", "upstream", `{"rate": 2}`}},
			says:   "timeout after 1.5s ", afterwards: []string{"timeout after "},
		},
		{
			name: "black hole", policy: impatient,
			toxics: [][3]string{{"timeout", "upstream", `{"timeout": 0}`}, {"timeout", "downstream", `{"timeout": 0}`}},
			says:   "timeout after 1.5s waiting for the response", afterwards: []string{"timeout after ", "TLS: connection closed by the receiver during the handshake"},
		},
		{
			name: "closed after a while", policy: patientPolicy,
			toxics: [][3]string{{"timeout", "downstream", `{"timeout": 300}`}},
			says:   "TLS: connection closed by the receiver during the handshake", afterwards: []string{"connection closed by the receiver "},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, good, bad, network := overBadHTTP2(t, tc.policy)
			network.resetsWhenCut()
			events := eventsv1.NewEventServiceClient(dialEvents(t, s.grpc))
			emit := func(ids ...string) {
				t.Helper()
				if tc.large {
					publishLarge(t, events, ids...)
					return
				}
				publish(t, s.grpc, "person.created", ids...)
			}
			emit("evt_before") // there is a connection
			good.awaitArrival(t, "evt_before")
			bad.awaitArrival(t, "evt_before")
			s.awaitIdle()

			if tc.answers != nil {
				bad.hang(tc.answers)
			}
			for _, x := range tc.toxics {
				network.poison(x[0], x[1], x[2])
			}
			emit("evt_first")
			s.awaitFailure(tc.says)
			ids := numbered("evt", 30)
			emit(ids...)
			good.awaitArrival(t, append(ids, "evt_first")...)
			s.awaitFailure(tc.says)
			meanwhile := bad.conns.Load()

			for _, x := range tc.toxics {
				network.heal(x[0], x[1])
			}
			bad.hang(nil)
			bad.awaitArrival(t, append(ids, "evt_first")...)
			s.awaitIdle()
			failures := 0
			for _, d := range s.history("bad") {
				last := d.Attempts[len(d.Attempts)-1]
				if d.State != "delivered" || last.Error != "" || last.Status != http.StatusNoContent {
					t.Errorf("%s is %s after an attempt that ended with %d %s", d.EventID, d.State, last.Status, last.Error)
				}
				for i, a := range d.Attempts[:len(d.Attempts)-1] {
					failures++
					if d.EventID == "evt_first" && i == 0 {
						if a.Status != tc.status || !strings.HasPrefix(a.Error, tc.says) || a.Outcome != "retry" {
							t.Errorf("the first attempt is recorded as %+v, want %d %s", a, tc.status, tc.says)
						}
						continue
					}
					if !hasAnyPrefix(a.Error, append(tc.afterwards, tc.says)) {
						t.Errorf("attempt %d of %s failed with %q", i+1, d.EventID, a.Error)
					}
				}
			}
			if failed := s.failuresOf("good"); len(failed) > 0 {
				t.Errorf("attempts at the good endpoint failed: %q", failed)
			}
			if n := good.conns.Load(); n != 1 {
				t.Errorf("%d connections to the good endpoint", n)
			}
			t.Logf("%d attempts failed; %d connections during the trouble, %d after it", failures, meanwhile, bad.conns.Load()-meanwhile)
			if n := bad.conns.Load(); n > int64(2*failures)+3 {
				t.Errorf("%d connections, with %d attempts that failed", n, failures)
			}

			healed := bad.conns.Load()
			for _, id := range numbered("evt_after", 20) { // one after the other
				emit(id)
				bad.awaitArrival(t, id)
				s.awaitIdle()
			}
			if n := bad.conns.Load() - healed; n > 1 { // one may have been left from the trouble
				t.Errorf("%d new connections for 20 deliveries after the trouble", n)
			}
			s.stop(syscall.SIGTERM)
		})
	}
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
