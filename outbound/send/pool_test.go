package send

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Pools of endpoints that are not asked any more are forgotten, so that memory follows the endpoints in use; an
// Endpoint that still points to a forgotten pool finds its way.
func TestUnusedPoolsAreForgotten(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	c := New(Options{
		Guard: NewGuard(GuardOptions{AllowLoopback: true}),
		Now:   func() time.Time { return now },
	})
	t.Cleanup(c.Close)
	entered, proceed := make(chan bool, 1), make(chan bool)
	var endpoints []*Endpoint
	for range 3 {
		srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				entered <- true
				<-proceed
			}
		}))
		t.Cleanup(srv.Close)
		for _, path := range []string{"/", "/slow"} {
			e, err := ParseEndpoint(srv.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			endpoints = append(endpoints, e)
		}
	}
	post := func(e *Endpoint) {
		if _, err := c.Send(t.Context(), &Request{URL: e}, time.Minute); err != nil {
			t.Error(err)
		}
	}
	for i := 0; i < len(endpoints); i += 2 {
		post(endpoints[i])
	}
	var wg sync.WaitGroup
	wg.Go(func() { post(endpoints[1]) }) // takes the first pool's connection, and is in flight from here on
	<-entered

	all := func(*conn) bool { return true }
	if n := c.sweep(all); n != 2 {
		t.Errorf("%d connections closed, want 2", n)
	}
	if n := len(c.pools); n != 1 {
		t.Errorf("%d pools left, want only the one that is in use", n)
	}
	proceed <- true
	wg.Wait()
	if s := c.Stats(); s.Idle != 1 || s.Open != 1 {
		t.Errorf("the connection of the request in flight is not kept: %+v", s)
	}
	for i := 0; i < len(endpoints); i += 2 {
		post(endpoints[i])
	}
	if s := c.Stats(); s.Dials != 5 || s.Idle != 3 || len(c.pools) != 3 {
		t.Errorf("%d pools, %+v", len(c.pools), s)
	}
	c.sweep(all)
	if s := c.Stats(); s.Open != 0 || len(c.pools) != 0 {
		t.Errorf("%d pools, %+v", len(c.pools), s)
	}
}
