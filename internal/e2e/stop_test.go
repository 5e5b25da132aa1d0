package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
)

// TestStopDrains: SIGTERM under load ends the process with code 0 within its deadline, though an endpoint hangs. Every
// acknowledged event was delivered or is on disk, and nothing is left behind.
func TestStopDrains(t *testing.T) {
	seed := seedOf(t)
	scene := newCrashScene(t, seed)
	scene.config = scene.write("sidecar.yaml", `kind: sidecar
data_dir: data
apps: [demo]
config_file: webhooks.yaml
listen: {grpc: 127.0.0.1:0, http: 127.0.0.1:0, admin: 127.0.0.1:0}
transformers: [{name: redact, command: `+programs.redact+`}]
shutdown_timeout: 10s
`+allowLoopback)
	crowd := startCrowd(t.Context(), 3, seed, crashTypes, func() *grpc.ClientConn { return dialEvents(t, scene.socket()) })
	for range 3 {
		before := crowd.total.Load()
		s := scene.open()
		await(t, "500 more events are acknowledged", func() error {
			if n := crowd.total.Load() - before; n < 500 {
				return fmt.Errorf("%d so far", n)
			}
			return nil
		})
		began := time.Now()
		s.stop(syscall.SIGTERM)
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("stopping took %s, longer than shutdown_timeout", took)
		}
		expectNoneLeft(t, filepath.Base(programs.redact))
		if _, err := os.Lstat(filepath.Join(scene.dir, "data", "sidehook.sock")); err == nil {
			t.Error("the unix socket is left")
		}
		if left, _ := filepath.Glob(filepath.Join(scene.dir, "data", "plugins", "*", "*")); len(left) > 0 {
			t.Errorf("sockets of transformers are left: %v", left)
		}
	}
	last := scene.open()
	acked, _, _, failures := crowd.finish()
	for _, f := range failures {
		t.Error(f)
	}
	last.awaitIdle()
	scene.settle(t, acked)
	for _, e := range []*endpoint{scene.healthy, scene.shaped} {
		e.mu.Lock()
		for id, a := range e.arrivals {
			if a.accepted > 1 {
				t.Errorf("%s arrived %d times at %s: an orderly stop repeats nothing", id, a.accepted, e.name)
				break
			}
		}
		e.mu.Unlock()
	}
	last.stop(os.Interrupt)
}

// TestStopDoesNotWaitForHangingEndpoints: an endpoint that never answers cannot hold the process beyond its deadline,
// and what it was to get is tried again after the next start.
func TestStopDoesNotWaitForHangingEndpoints(t *testing.T) {
	arrived, release := make(chan struct{}, 64), make(chan struct{})
	var once sync.Once
	letGo := func() { once.Do(func() { close(release) }) }
	e := newEndpoint(t, "hanging")
	t.Cleanup(letGo) // before the endpoint's server is closed, which waits for its requests
	hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	e.hang(hang)
	pl := newPlace(t, "config_file: webhooks.yaml", allowLoopback+"shutdown_timeout: 2s\n")
	pl.write("webhooks.yaml", fmt.Sprintf(`apps:
  - id: demo
    webhooks:
      - {id: hanging, url: %q, events: ["*"], timeout: 60s, secrets: [{id: s, key: %s}]}
`, e.url, e.secret.Reveal()))
	s := pl.open()
	publish(t, s.grpc, "person.created", "evt_hangs")
	<-arrived
	began := time.Now()
	s.stop(syscall.SIGTERM)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %s with a shutdown_timeout of 2s", took)
	}
	e.hang(nil)
	letGo()
	s = pl.open()
	e.awaitArrival(t, "evt_hangs")
	s.stop(syscall.SIGTERM)
}
