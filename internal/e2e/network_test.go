package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// A bad network is toxiproxy's: a TCP proxy between the sidecar and an endpoint, whose toxics delay, throttle, cut and
// swallow what goes through.

// badNetwork is the way to one endpoint.
type badNetwork struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
	url   string
}

func newBadNetwork(t *testing.T, to string) *badNetwork {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", strings.TrimSuffix(strings.TrimPrefix(to, "http://"), "/in"))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return &badNetwork{t: t, proxy: p, url: "http://" + p.Listen + "/in"}
}

// poison adds a toxic in one direction: upstream is from the sidecar to the endpoint.
func (n *badNetwork) poison(kind, direction, attributes string) {
	n.t.Helper()
	toxic := fmt.Sprintf(`{"name": %q, "type": %q, "stream": %q, "attributes": %s}`, kind+"_"+direction, kind, direction, attributes)
	if _, err := n.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		n.t.Fatal(err)
	}
}

// heal takes a toxic away. What it holds back or has cut stays so.
func (n *badNetwork) heal(kind, direction string) {
	n.t.Helper()
	if err := n.proxy.Toxics.RemoveToxic(n.t.Context(), kind+"_"+direction); err != nil {
		n.t.Fatal(err)
	}
}

// counted is an endpoint that counts the connections to it.
type counted struct {
	*endpoint
	conns atomic.Int64
}

func newCounted(t *testing.T, name string) *counted {
	t.Helper()
	c := &counted{endpoint: newEndpoint(t, name)}
	srv := httptest.NewUnstartedServer(c.endpoint)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			c.conns.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	c.url = srv.URL + "/in"
	return c
}

// overBadNetwork starts a sidecar with two webhooks: good goes straight to its endpoint, bad over the bad network.
func overBadNetwork(t *testing.T, policy string) (s *sidecar, good, bad *counted, net *badNetwork) {
	t.Helper()
	good, bad = newCounted(t, "good"), newCounted(t, "bad")
	net = newBadNetwork(t, bad.url)
	pl := newPlace(t, "config_file: webhooks.yaml", allowLoopback)
	pl.write("webhooks.yaml", fmt.Sprintf(`apps:
  - id: demo
    webhooks:
      - {id: good, url: %q, events: ["*"], secrets: [{id: s, key: %s}]}
      - {id: bad, url: %q, events: ["*"], secrets: [{id: s, key: %s}], %s}
`, good.url, good.secret.Reveal(), net.url, bad.secret.Reveal(), policy))
	return pl.open(), good, bad, net
}

func numbered(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s_%04d", prefix, i)
	}
	return ids
}

// failuresOf returns the errors of the attempts at a webhook that failed.
func (s *sidecar) failuresOf(webhook string) (failed []string) {
	for _, d := range s.history(webhook) {
		for _, a := range d.Attempts {
			if a.Error != "" {
				failed = append(failed, a.Error)
			}
		}
	}
	return failed
}

// awaitFailure waits for an attempt of the webhook bad that failed with that error.
func (s *sidecar) awaitFailure(text string) {
	s.t.Helper()
	await(s.t, "an attempt fails with "+text, func() error {
		failed := s.failuresOf("bad")
		for _, f := range failed {
			if strings.HasPrefix(f, text) {
				return nil
			}
		}
		return fmt.Errorf("the failures are %q", failed)
	})
}

const patientPolicy = `timeout: 30s, retry_policy: {schedule: [1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]}`

// Slow is not broken: what a slow or throttled network brings in time is delivered, at the first attempt and over
// connections that are used again.
func TestNetworkSlow(t *testing.T) {
	for _, tc := range []struct{ kind, attributes string }{
		{"latency", `{"latency": 60, "jitter": 30}`},
		{"bandwidth", `{"rate": 64}`},
		{"slicer", `{"average_size": 7, "size_variation": 3, "delay": 50}`},
		{"slow_close", `{"delay": 300}`},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			s, good, bad, net := overBadNetwork(t, patientPolicy)
			net.poison(tc.kind, "upstream", tc.attributes)
			net.poison(tc.kind, "downstream", tc.attributes)
			ids := numbered("evt_"+tc.kind, 400)
			publish(t, s.grpc, "person.created", ids...)
			good.awaitArrival(t, ids...)
			bad.awaitArrival(t, ids...)
			s.awaitIdle()
			if failed := s.failuresOf("bad"); len(failed) > 0 {
				t.Errorf("attempts failed: %q", failed)
			}
			if n := bad.conns.Load(); n > 64 { // the lane has at most as many requests under way
				t.Errorf("%d connections for 400 deliveries", n)
			}
			before := bad.conns.Load()
			for _, id := range numbered("evt_again_"+tc.kind, 5) { // one after the other: there is an idle connection
				publish(t, s.grpc, "person.created", id)
				bad.awaitArrival(t, id)
				s.awaitIdle()
			}
			if n := bad.conns.Load(); n != before {
				t.Errorf("%d new connections for deliveries one after the other", n-before)
			}
			s.stop(syscall.SIGTERM)
		})
	}
}

// A network that cuts connections costs attempts and no deliveries: the body and the id are those of the first attempt,
// which the endpoint's ledger checks, and the history says in plain words what happened.
func TestNetworkCuts(t *testing.T) {
	for name, tc := range map[string]struct{ kind, direction, attributes, says string }{
		"reset before the answer": {"reset_peer", "downstream", `{"timeout": 0}`, "connection reset by the receiver while waiting for the response"},
		"reset in the request":    {"reset_peer", "upstream", `{"timeout": 0}`, "connection "},
		"cut in the answer":       {"limit_data", "downstream", `{"bytes": 20}`, "connection closed by the receiver while "},
		"cut in the request":      {"limit_data", "upstream", `{"bytes": 300}`, "connection closed by the receiver while waiting for the response"},
		"closed after a while":    {"timeout", "downstream", `{"timeout": 200}`, "connection closed by the receiver while waiting for the response"},
	} {
		t.Run(name, func(t *testing.T) {
			s, good, bad, net := overBadNetwork(t, patientPolicy)
			net.poison(tc.kind, tc.direction, tc.attributes)
			ids := numbered("evt", 20)
			publish(t, s.grpc, "person.created", ids...)
			good.awaitArrival(t, ids...)
			s.awaitFailure(tc.says)
			net.heal(tc.kind, tc.direction)
			bad.awaitArrival(t, ids...)
			s.awaitIdle()
			for _, f := range s.failuresOf("bad") {
				if !strings.HasPrefix(f, "connection ") {
					t.Errorf("an attempt failed with %q", f)
				}
			}
			for _, f := range s.failuresOf("good") {
				t.Errorf("an attempt at the good endpoint failed with %q", f)
			}
			s.stop(syscall.SIGTERM)
		})
	}
}

// A body that is cut off after the status is a failed attempt that shows the status.
func TestNetworkCutsTheBody(t *testing.T) {
	s, _, bad, net := overBadNetwork(t, patientPolicy)
	bad.hang(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "900")
		_, _ = io.WriteString(w, strings.Repeat("x", 900))
	}))
	net.poison("limit_data", "downstream", `{"bytes": 500}`)
	publish(t, s.grpc, "person.created", "evt_body")
	s.awaitFailure("connection closed by the receiver while reading the response body")
	if first := s.history("bad")[0].Attempts[0]; first.Status != http.StatusOK {
		t.Errorf("the attempt shows the status %d", first.Status)
	}
	net.heal("limit_data", "downstream")
	bad.hang(nil)
	bad.awaitArrival(t, "evt_body")
	s.awaitIdle()
	s.stop(syscall.SIGTERM)
}

// A network that swallows everything costs the webhook behind it its timeouts, and others nothing.
func TestNetworkSwallows(t *testing.T) {
	s, good, bad, net := overBadNetwork(t, strings.Replace(patientPolicy, "30s", "1s", 1))
	publish(t, s.grpc, "person.created", "evt_before") // there is a connection that goes dead without a word
	good.awaitArrival(t, "evt_before")
	bad.awaitArrival(t, "evt_before")
	s.awaitIdle()
	net.poison("timeout", "upstream", `{"timeout": 0}`)
	net.poison("timeout", "downstream", `{"timeout": 0}`)
	conns := good.conns.Load()
	ids := numbered("evt", 500)
	publish(t, s.grpc, "person.created", ids...)
	good.awaitArrival(t, ids...)
	for _, id := range ids {
		if bad.of(id).accepted != 0 {
			t.Fatalf("%s came through a network that swallows everything", id)
		}
	}
	s.awaitFailure("timeout after 1s waiting for the response")
	if n := good.conns.Load() - conns; n > 64 {
		t.Errorf("%d new connections to the good endpoint", n)
	}
	net.heal("timeout", "upstream")
	net.heal("timeout", "downstream")
	bad.awaitArrival(t, ids...)
	s.awaitIdle()
	s.stop(syscall.SIGTERM)
}

// A sidecar stops in good time although a network holds its requests.
func TestNetworkHoldsAndTheSidecarStops(t *testing.T) {
	s, good, _, net := overBadNetwork(t, patientPolicy)
	net.poison("timeout", "downstream", `{"timeout": 0}`)
	publish(t, s.grpc, "person.created", "evt_held")
	good.awaitArrival(t, "evt_held")
	await(t, "the request is under way", func() error {
		var got struct {
			Data []struct {
				ID       string
				InFlight int `json:"in_flight"`
			}
		}
		_, err := getJSON("http://"+s.admin+"/webhooks", &got)
		for _, w := range got.Data {
			if w.InFlight > 0 {
				return err
			}
		}
		return errors.Join(err, fmt.Errorf("%+v", got))
	})
	s.stop(syscall.SIGTERM)
}
