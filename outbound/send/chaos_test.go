package send_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidehook/sidehook/outbound/send"
)

// Whatever happens to connections, at the end none is open and none is counted: receivers that close, that send GOAWAY,
// that hang until the timeout; contexts that end; credentials that change; a Client that is closed in the middle.
func TestChaosLeavesNothingBehind(t *testing.T) {
	cert := certificate(t, func(*x509.Certificate) {})
	other := certificate(t, func(c *x509.Certificate) { c.Subject.CommonName = "other" })
	dir := t.TempDir()
	ca, caKey := files(t, dir, "ca", cert)
	shown, shownKey := files(t, dir, "shown", cert)
	rules := loadTLS(t, send.TLSRule{Hosts: []string{"*"}, CAFile: ca, CertFile: shown, KeyFile: shownKey})

	var urls []string
	var servers []*httptest.Server
	for _, kind := range []string{"h2", "h1", "plain"} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // net/http notices that the client has gone only after that
			switch r.URL.Path {
			case "/goodbye":
				w.Header().Set("Connection", "close") // GOAWAY with HTTP/2
			case "/hang":
				<-r.Context().Done()
			case "/abort":
				panic(http.ErrAbortHandler)
			case "/large":
				_, _ = w.Write(make([]byte, 300_000))
			}
		}))
		srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		if kind == "plain" {
			srv.Start()
		} else {
			srv.EnableHTTP2 = kind == "h2"
			srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert}
			srv.StartTLS()
		}
		t.Cleanup(srv.Close)
		urls, servers = append(urls, srv.URL), append(servers, srv)
	}

	c := newClient(t, send.Options{HTTP2: true, TLSRules: rules, TLSReload: 3 * time.Millisecond, IdleTimeout: 20 * time.Millisecond, MaxIdle: 8})
	paths := []string{"/", "/", "/", "/goodbye", "/hang", "/abort", "/large"}
	var wg sync.WaitGroup
	var delivered atomic.Int64
	for worker := range 24 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 60 {
				e := endpoint(t, urls[rnd.IntN(len(urls))]+paths[rnd.IntN(len(paths))])
				ctx, cancel := context.WithCancel(t.Context())
				if rnd.IntN(8) == 0 {
					stop := time.AfterFunc(time.Duration(rnd.IntN(3000))*time.Microsecond, cancel)
					defer stop.Stop()
				}
				resp, err := c.Send(ctx, &send.Request{URL: e, Body: make([]byte, rnd.IntN(40_000))}, 40*time.Millisecond)
				cancel()
				if err == nil && resp.Status == 200 {
					delivered.Add(1)
				}
			}
		})
	}
	done := make(chan bool)
	var trouble sync.WaitGroup
	trouble.Go(func() {
		tick := time.NewTicker(7 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			switch n % 3 {
			case 0:
				servers[n%len(servers)].CloseClientConnections()
			case 1:
				writePEM(t, shown, shownKey, []tls.Certificate{cert, other}[n/3%2])
			}
		}
	})
	wg.Wait()
	close(done)
	trouble.Wait()
	writePEM(t, shown, shownKey, cert)
	writePEM(t, ca, caKey, cert)
	if _, err := rules.Reload(); err != nil {
		t.Error(err)
	}
	if delivered.Load() == 0 {
		t.Error("nothing was delivered")
	}
	for _, u := range urls { // and it still works
		if _, err := c.Send(t.Context(), &send.Request{URL: endpoint(t, u)}, patience); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
	c.Close()
	gone := make(chan send.Stats, 1)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range 5000 {
			if s := c.Stats(); s.Open == 0 {
				break
			}
			<-tick.C
		}
		gone <- c.Stats()
	}()
	if s := await(t, gone, "the last connection to end"); s.Open != 0 || s.Idle != 0 {
		t.Errorf("%+v", s)
	}
}
