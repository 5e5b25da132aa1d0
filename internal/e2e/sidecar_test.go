package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// place is where a sidecar lives from one process to the next: its folder and its configuration.
type place struct {
	t      *testing.T
	dir    string
	config string
}

// newPlace writes the configuration of a sidecar for the app demo. source says where its webhooks come from, extra is
// more configuration; both are YAML.
func newPlace(t *testing.T, source, extra string) *place {
	t.Helper()
	pl := &place{t: t, dir: shortDir(t)}
	pl.config = pl.write("sidecar.yaml", `kind: sidecar
id: e2e
data_dir: data
apps: [demo]
`+source+`
listen: {grpc: 127.0.0.1:0, http: 127.0.0.1:0, admin: 127.0.0.1:0}
transformers: [{name: redact, command: `+programs.redact+`}]
log: {level: info}
`+extra)
	return pl
}

const allowLoopback = "outbound: {allow_loopback: true}\n"

// shortDir is a folder with a path that leaves room for a unix socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("the folder is in use after the test: %v", err)
		}
	})
	return dir
}

func (pl *place) write(name, text string) string {
	pl.t.Helper()
	path := filepath.Join(pl.dir, name)
	aside := path + ".new"
	if err := os.WriteFile(aside, []byte(text), 0o600); err != nil {
		pl.t.Fatal(err)
	}
	if err := os.Rename(aside, path); err != nil { // a reader sees the old file or the new one
		pl.t.Fatal(err)
	}
	return path
}

// socket is where events go whatever ports a process gets.
func (pl *place) socket() string { return "unix:" + filepath.Join(pl.dir, "data", "sidehook.sock") }

// start starts a process without waiting for anything.
func (pl *place) start() *process {
	pl.t.Helper()
	return startSidehook(pl.t, "sidecar", "--config", pl.config)
}

// sidecar is a running sidecar whose doors are open.
type sidecar struct {
	*process
	grpc, unix, http, admin string
}

// open starts a sidecar and waits until it takes events.
func (pl *place) open() *sidecar {
	pl.t.Helper()
	return doors(pl.start())
}

func doors(p *process) *sidecar {
	p.t.Helper()
	return &sidecar{
		process: p,
		unix:    p.says(`events \(unix socket\) +(\S+)`),
		grpc:    p.says(`events \(gRPC\) +(\S+)`),
		http:    p.says(`events \(CloudEvents over HTTP\) +(\S+)`),
		admin:   p.says(`admin +(\S+)\n`),
	}
}

// readiness is what /ready answers.
type readiness struct {
	Status    int
	Ready     bool
	Stale     bool
	Connected bool
	Pending   int
	Reason    string
}

func (s *sidecar) ready() (r readiness, err error) {
	r.Status, err = getJSON("http://"+s.admin+"/ready", &r)
	return r, err
}

func (s *sidecar) awaitReady() readiness {
	s.t.Helper()
	var r readiness
	await(s.t, "the sidecar is ready", func() (err error) {
		if r, err = s.ready(); err == nil && !r.Ready {
			err = errors.New(r.Reason)
		}
		return err
	})
	return r
}

// awaitIdle waits until every delivery has ended.
func (s *sidecar) awaitIdle() {
	s.t.Helper()
	await(s.t, "every delivery has ended", func() error {
		r, err := s.ready()
		if err == nil && r.Pending != 0 {
			err = fmt.Errorf("%d are pending", r.Pending)
		}
		return err
	})
}

// awaitWebhooks waits until the sidecar knows as many webhooks.
func (s *sidecar) awaitWebhooks(want int) {
	s.t.Helper()
	await(s.t, "the webhooks reach the sidecar", func() error {
		var got struct{ Data []struct{ ID string } }
		_, err := getJSON("http://"+s.admin+"/webhooks", &got)
		if err == nil && len(got.Data) != want {
			err = fmt.Errorf("%d have, want %d", len(got.Data), want)
		}
		return err
	})
}

// delivery is a delivery as the admin endpoint shows it. A list has its newest attempt only.
type delivery struct {
	ID           string
	Webhook      string
	EventID      string `json:"event_id"`
	State        string
	AttemptCount int `json:"attempt_count"`
	Attempts     []struct {
		Status  int
		Error   string
		Outcome string
	}
}

func (s *sidecar) deliveries(query string) []delivery {
	s.t.Helper()
	var page struct{ Data []delivery }
	if status, err := getJSON("http://"+s.admin+"/deliveries?"+query, &page); err != nil || status != 200 {
		s.t.Fatalf("/deliveries answers %d, %v", status, err)
	}
	return page.Data
}

// history returns the newest 1000 deliveries of a webhook, each with all of its attempts.
func (s *sidecar) history(webhook string) []delivery {
	s.t.Helper()
	all := s.deliveries("app=demo&limit=1000&webhook=" + webhook)
	for i, d := range all {
		if d.AttemptCount == len(d.Attempts) {
			continue
		}
		if status, err := getJSON("http://"+s.admin+"/deliveries/"+d.ID, &all[i]); err != nil || status != 200 {
			s.t.Fatalf("/deliveries/%s answers %d, %v", d.ID, status, err)
		}
	}
	return all
}

// metric reads one line of /metrics.
func (s *sidecar) metric(name string) string {
	s.t.Helper()
	resp, err := web.Get("http://" + s.admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	s.t.Fatalf("/metrics has no %s", name)
	return ""
}

// web keeps no connections, so that none outlives a test or a restarted process.
var web = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

func getJSON(url string, into any) (status int, err error) {
	resp, err := web.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return resp.StatusCode, fmt.Errorf("%s answers %s: %w", url, b, err)
	}
	return resp.StatusCode, nil
}

// dialEvents is the connection of a service; it comes back soon after a restart.
func dialEvents(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 5e6, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 50e6},
			MinConnectTimeout: 5 * time.Second, // under load a handshake takes its time
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// publish emits events with these ids and returns what became of them.
func publish(t *testing.T, address, typ string, ids ...string) []*eventsv1.PublishResult {
	t.Helper()
	conn := dialEvents(t, address)
	req := &eventsv1.PublishRequest{}
	for _, id := range ids {
		req.Events = append(req.Events, newEvent(id, typ))
	}
	answer, err := eventsv1.NewEventServiceClient(conn).Publish(t.Context(), req, grpc.WaitForReady(true))
	if err != nil {
		t.Fatalf("publish %v: %v", ids, err)
	}
	return answer.GetResults()
}

func newEvent(id, typ string) *eventsv1.Event {
	data, err := json.Marshal(map[string]string{"n": id, "email": "alice@example.com"})
	if err != nil {
		panic(err) // strings always marshal
	}
	return &eventsv1.Event{App: "demo", Id: id, Source: "/e2e", Type: typ, Data: data}
}

// freePorts are addresses on which nobody listens, for processes that must be found again after a restart.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var all []string
	for range n {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer lis.Close() // open until all are chosen, so that they differ
		all = append(all, lis.Addr().String())
	}
	return all
}
