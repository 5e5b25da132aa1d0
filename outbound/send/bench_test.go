package send_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/send"
)

// The benchmarks send 1 KiB bodies from 64 goroutines to net/http's server in the same process, whose share of the
// processor is in every number. BenchmarkNetHTTP does the same with net/http's client, for comparison.

const benchParallelism = 64

func benchReceiver(b *testing.B, useTLS bool) *httptest.Server {
	b.Helper()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	srv := httptest.NewUnstartedServer(h)
	if useTLS {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	b.Cleanup(srv.Close)
	return srv
}

var benchBody = bytes.Repeat([]byte("x"), 1024)

var benchHeaders = []sidehook.Header{
	{Key: "Content-Type", Value: "application/json"},
	{Key: "webhook-id", Value: "evt_0123456789abcdefghijklmnop"},
	{Key: "webhook-timestamp", Value: "1700000000"},
	{Key: "webhook-signature", Value: "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="},
	{Key: "Sidehook-Delivery", Value: "dlv_0123456789abcdefghjkmnpqrs"},
	{Key: "Sidehook-Attempt", Value: "1"},
	{Key: "traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
}

func parallel(b *testing.B, f func(*testing.PB)) {
	b.Helper()
	b.ReportAllocs()
	b.SetParallelism(benchParallelism / 2)
	b.ResetTimer()
	b.RunParallel(f)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

func benchmarkDo(b *testing.B, useTLS bool) {
	srv := benchReceiver(b, useTLS)
	opts := send.Options{Guard: send.NewGuard(send.GuardOptions{AllowLoopback: true})}
	if useTLS {
		roots := x509.NewCertPool()
		roots.AddCert(srv.Certificate())
		opts.TLS = &tls.Config{RootCAs: roots}
	}
	c := send.New(opts)
	b.Cleanup(c.Close)
	ep, err := send.ParseEndpoint(srv.URL + "/in?q=1")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	parallel(b, func(pb *testing.PB) {
		req := &send.Request{URL: ep, Headers: benchHeaders, Body: benchBody}
		var resp send.Response
		for pb.Next() {
			if err := c.Do(ctx, req, 15*time.Second, &resp); err != nil || resp.Status != http.StatusNoContent {
				b.Errorf("status %d, %v", resp.Status, err)
				return
			}
		}
	})
}

func BenchmarkDo(b *testing.B)    { benchmarkDo(b, false) }
func BenchmarkDoTLS(b *testing.B) { benchmarkDo(b, true) }

func benchmarkNetHTTP(b *testing.B, useTLS bool) {
	srv := benchReceiver(b, useTLS)
	tr := &http.Transport{MaxIdleConnsPerHost: 256}
	if useTLS {
		roots := x509.NewCertPool()
		roots.AddCert(srv.Certificate())
		tr.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	b.Cleanup(tr.CloseIdleConnections)
	c := &http.Client{Transport: tr, Timeout: 15 * time.Second}
	parallel(b, func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, srv.URL+"/in?q=1", bytes.NewReader(benchBody))
			if err != nil {
				b.Error(err)
				return
			}
			for _, h := range benchHeaders {
				req.Header.Set(h.Key, h.Value)
			}
			resp, err := c.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, sidehook.MaxRecordedResponse))
			_ = resp.Body.Close()
		}
	})
}

func BenchmarkNetHTTP(b *testing.B)    { benchmarkNetHTTP(b, false) }
func BenchmarkNetHTTPTLS(b *testing.B) { benchmarkNetHTTP(b, true) }
