package send_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/send"
)

// The benchmarks send 1 KiB bodies from 64 goroutines to net/http's server in a process of its own. BenchmarkNetHTTP
// does the same with net/http's client, for comparison. Beside the rate they report the processor time that this
// process, the client, takes per request: on a busy machine that is the steadier number.

const (
	benchParallelism = 64
	receiverEnv      = "SEND_TEST_RECEIVER" // makes the test binary a receiver: "http" or "https"
)

// receive serves until stdin ends. It prints its URL, and the certificate in hexadecimal.
func receive() {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if os.Getenv(receiverEnv) == "https" {
		srv.StartTLS()
		fmt.Printf("%s %x\n", srv.URL, srv.Certificate().Raw)
	} else {
		srv.Start()
		fmt.Printf("%s -\n", srv.URL)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	srv.Close()
}

// startReceiver starts a receiver process and returns its URL and a configuration that trusts it.
func startReceiver(b *testing.B, scheme string) (string, *tls.Config) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), receiverEnv+"="+scheme)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	var url, cert string
	if _, err := fmt.Fscan(stdout, &url, &cert); err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	if scheme == "https" {
		der, err := hex.DecodeString(cert)
		if err != nil {
			b.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			b.Fatal(err)
		}
		roots.AddCert(leaf)
	}
	return url + "/in?q=1", &tls.Config{RootCAs: roots}
}

func parallel(b *testing.B, f func(*testing.PB)) {
	b.Helper()
	b.ReportAllocs()
	b.SetParallelism(max(1, benchParallelism/runtime.GOMAXPROCS(0)))
	b.ResetTimer()
	before := cpuTime()
	b.RunParallel(f)
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

func benchmarkDo(b *testing.B, scheme string) {
	url, trust := startReceiver(b, scheme)
	c := newClient(b, send.Options{TLS: trust})
	e := endpoint(b, url)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	parallel(b, func(pb *testing.PB) {
		req := &send.Request{URL: e, Headers: benchHeaders, Body: benchBody}
		var resp send.Response
		for pb.Next() {
			if err := c.Do(ctx, req, patience, &resp); err != nil || resp.Status != http.StatusNoContent {
				b.Errorf("status %d, %v", resp.Status, err)
				return
			}
		}
	})
}

func BenchmarkDo(b *testing.B)    { benchmarkDo(b, "http") }
func BenchmarkDoTLS(b *testing.B) { benchmarkDo(b, "https") }

func benchmarkNetHTTP(b *testing.B, scheme string) {
	url, trust := startReceiver(b, scheme)
	tr := &http.Transport{MaxIdleConnsPerHost: 256, TLSClientConfig: trust}
	b.Cleanup(tr.CloseIdleConnections)
	c := &http.Client{Transport: tr, Timeout: patience}
	parallel(b, func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(benchBody))
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

func BenchmarkNetHTTP(b *testing.B)    { benchmarkNetHTTP(b, "http") }
func BenchmarkNetHTTPTLS(b *testing.B) { benchmarkNetHTTP(b, "https") }
