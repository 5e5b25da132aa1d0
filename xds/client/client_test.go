package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sidehook/sidehook/xds"
	"github.com/sidehook/sidehook/xds/client"
)

func TestFirstSnapshotIsWhole(t *testing.T) {
	p := newPlane(t, "")
	p.Set("demo", []*xds.Resource{webhook("demo", "crm", "CRM"), secret("demo", "crm", "s")}, nil)
	c := start(t, quick(dial(t, p.addr, "car demo")))
	first := c.next()
	w := first.Webhook(key("demo", "crm"))
	if first.Stale || w == nil || len(w.Secrets) != 1 {
		t.Fatalf("first snapshot is %+v with webhook %+v", first, w)
	}
	p.settled()
	if s := c.Status(); !s.Connected || !s.Ready || s.Stale || s.Version != first.Version || len(s.Waiting) != 0 ||
		s.Successes != uint64(len(xds.Types)) || s.Rejections != 0 {
		t.Errorf("status %+v", s)
	}
	if r := c.resource("apps/demo/webhooks/crm"); r.Status != client.Acked || r.Version == "" || r.LastUpdated.IsZero() {
		t.Errorf("resource %+v", r)
	}
	if got := p.Status(); len(got) != 1 || got[0].Sidecar != "car" || !slices.Equal(got[0].Apps, []string{"demo"}) ||
		got[0].NodeID != "node-1" || !got[0].Delta {
		t.Errorf("server status %+v", got)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, req := range p.got[:len(xds.Types)] {
		if !slices.Equal(req.GetResourceNamesSubscribe(), []string{"*"}) {
			t.Errorf("subscription %v", req)
		}
	}
}

func TestEmptyConfigurationIsConfiguration(t *testing.T) {
	p := newPlane(t, "")
	c := start(t, quick(dial(t, p.addr, "car demo")))
	if s := c.next(); s.Stale || len(s.Apps()) != 0 {
		t.Errorf("snapshot %+v", s)
	}
	p.settled()
	if !c.Status().Ready {
		t.Error("not ready")
	}
}

func TestNoAnswerIsNotConfiguration(t *testing.T) {
	conn := dial(t, "127.0.0.1:1", "car demo")
	opts := quick(conn)
	tried := countTries(&opts)
	c := start(t, opts)
	for range 3 {
		receive(t, tried)
	}
	if s := c.Status(); s.Ready || s.Connected || len(s.Waiting) != len(xds.Types) || s.LastError == "" {
		t.Errorf("status %+v", s)
	}
	if r := c.resource("*"); r.Status != client.Requested {
		t.Errorf("resource %+v", r)
	}
	if len(c.snapshots) != 0 {
		t.Error("a snapshot was applied")
	}
}

func TestChangesAndRemovals(t *testing.T) {
	p := newPlane(t, "")
	p.Set("demo", []*xds.Resource{webhook("demo", "a", "A"), webhook("demo", "b", "B")}, nil)
	c := start(t, quick(dial(t, p.addr, "car demo")))
	c.next()
	p.settled()
	_, before, _ := p.counts()
	p.Set("demo", []*xds.Resource{webhook("demo", "a", "A2"), webhook("demo", "b", "B")}, nil)
	s := c.next()
	if s.Webhook(key("demo", "a")).Name != "A2" || s.Webhook(key("demo", "b")).Name != "B" {
		t.Error("the change did not arrive")
	}
	p.settled()
	if _, after, _ := p.counts(); after != before+1 {
		t.Errorf("%d resources were sent for one that changed", after-before)
	}
	p.Set("demo", nil, []string{"apps/demo/webhooks/b", "apps/other/webhooks/a", "nonsense"})
	s = c.next()
	if s.Webhook(key("demo", "b")) != nil || s.Webhook(key("demo", "a")) == nil {
		t.Error("the removal did not arrive")
	}
	p.settled()
	p.Replace("demo", []*xds.Resource{webhook("demo", "c", "C")})
	s = c.next()
	if len(s.Webhooks()) != 1 || s.Webhook(key("demo", "c")) == nil {
		t.Errorf("after Replace: %v", s.Webhooks())
	}
	p.settled()
	p.RemoveApp("demo")
	if s = c.next(); s.App("demo") != nil {
		t.Error("after RemoveApp the app is there")
	}
}

// TestSecretBeforeWebhook: both in one Set; a webhook is never live without its secret.
func TestSecretBeforeWebhook(t *testing.T) {
	p := newPlane(t, "")
	c := start(t, quick(dial(t, p.addr, "car demo")))
	c.next()
	for i := range 20 {
		p.settled()
		id := fmt.Sprint("w", i)
		p.Set("demo", []*xds.Resource{webhook("demo", id, id), secret("demo", id, "s")}, nil)
		s := c.until(func(s *xds.Snapshot) bool { return s.Webhook(key("demo", id)) != nil })
		if len(s.Webhook(key("demo", id)).Secrets) != 1 {
			t.Fatalf("webhook %s is live without its secret", id)
		}
	}
}

func TestNACKByName(t *testing.T) {
	p := newPlane(t, "")
	p.Set("demo", []*xds.Resource{webhook("demo", "x", "old"), webhook("demo", "y", "Y")}, nil)
	opts := quick(dial(t, p.addr, "car demo"))
	opts.Check = func(r *xds.Resource) error {
		if r.Webhook != nil && r.Webhook.Name == "unwanted" {
			return errors.New("transformer: is not installed")
		}
		return nil
	}
	c := start(t, opts)
	c.next()
	p.settled()
	before, _, _ := p.counts()

	// One bad encoding, one the check refuses, one good: in one response.
	change := []*xds.Resource{webhook("demo", "x", "unwanted"), webhook("demo", "z", "Z")}
	if err := p.SetRaw("demo", xds.WebhookType, "apps/demo/webhooks/bad", &anypb.Any{
		TypeUrl: xds.WebhookType, Value: []byte{0xff, 0xff},
	}); err != nil {
		t.Fatal(err)
	}
	p.await("the first NACK", func() bool { return len(p.nacks) == 1 })
	p.Set("demo", change, nil)
	s := c.until(func(s *xds.Snapshot) bool { return s.Webhook(key("demo", "z")) != nil })
	if got := s.Webhook(key("demo", "x")); got == nil || got.Name != "old" {
		t.Errorf("the old version must stay live, got %+v", got)
	}
	p.await("the second NACK", func() bool { return len(p.nacks) == 2 })
	p.mu.Lock()
	nack := p.nacks[1]
	p.mu.Unlock()
	if nack.Sidecar != "car" || nack.TypeURL != xds.WebhookType || len(nack.Rejections) != 1 ||
		nack.Rejections[0].Name != "apps/demo/webhooks/x" ||
		!strings.Contains(nack.Rejections[0].Reason, "not installed") || !strings.Contains(nack.Message, "webhooks/x") {
		t.Errorf("NACK %+v", nack)
	}
	if r := c.resource("apps/demo/webhooks/x"); r.Status != client.Nacked || r.Version == "" || r.RejectedVersion == "" ||
		r.Version == r.RejectedVersion || !strings.Contains(r.Error, "not installed") {
		t.Errorf("resource %+v", r)
	}
	if r := c.resource("apps/demo/webhooks/bad"); r.Status != client.Nacked || r.Version != "" {
		t.Errorf("resource %+v", r)
	}
	rejected := p.Status()[0].Types[xds.WebhookType].Rejections
	if len(rejected) != 2 {
		t.Errorf("server knows of rejections %+v", rejected)
	}

	// No hot loop: an unrelated change later, exactly three responses were sent since.
	p.settled()
	p.Set("demo", []*xds.Resource{webhook("demo", "y", "Y2")}, nil)
	c.until(func(s *xds.Snapshot) bool { return s.Webhook(key("demo", "y")).Name == "Y2" })
	p.settled()
	if after, _, _ := p.counts(); after != before+3 {
		t.Errorf("%d responses were sent, want 3", after-before)
	}

	// Mended, it is not rejected any more.
	p.Set("demo", []*xds.Resource{webhook("demo", "x", "mended"), webhook("demo", "bad", "good")}, nil)
	c.until(func(s *xds.Snapshot) bool {
		return s.Webhook(key("demo", "x")).Name == "mended" && s.Webhook(key("demo", "bad")) != nil
	})
	p.settled()
	if r := c.resource("apps/demo/webhooks/x"); r.Status != client.Acked || r.Error != "" {
		t.Errorf("resource %+v", r)
	}
	if ts := p.Status()[0].Types[xds.WebhookType]; len(ts.Rejections) != 0 || ts.NACKs != 2 || ts.Sent != ts.Acked ||
		ts.LastError != "" {
		t.Errorf("server's view %+v", ts)
	}
}

// TestRefusedIsSentAgain: on Resync, and refused resources that are removed are forgotten.
func TestRefusedIsSentAgain(t *testing.T) {
	p := newPlane(t, "")
	p.Set("demo", []*xds.Resource{webhook("demo", "x", "X"), webhook("demo", "y", "Y")}, nil)
	var installed atomic.Bool
	opts := quick(dial(t, p.addr, "car demo"))
	opts.Check = func(r *xds.Resource) error {
		if r.Webhook != nil && !installed.Load() {
			return errors.New("not installed")
		}
		return nil
	}
	c := start(t, opts)
	if s := c.next(); len(s.Webhooks()) != 0 {
		t.Error("a refused webhook is live")
	}
	p.settled()
	p.Set("demo", nil, []string{"apps/demo/webhooks/y"})
	p.settled()
	p.await("the removal's acknowledgement", func() bool {
		return p.sent[len(p.sent)-1].GetRemovedResources() != nil
	})
	p.settled()
	if r := c.resource("apps/demo/webhooks/y"); r.Name != "" {
		t.Errorf("removed, but %+v", r)
	}
	installed.Store(true)
	c.Resync()
	if s := c.next(); s.Webhook(key("demo", "x")) == nil {
		t.Error("not sent again")
	}
}

func TestReconnectGetsTheDifference(t *testing.T) {
	p := newPlane(t, "")
	var all []*xds.Resource
	for i := range 50 {
		all = append(all, webhook("demo", fmt.Sprint("w", i), "same"))
	}
	p.Set("demo", all, nil)
	c := start(t, quick(dial(t, p.addr, "car demo")))
	c.next()
	p.settled()
	p.stop()

	again := newFilledPlane(t, p.addr, func(s *plane) {
		s.Set("demo", append(all[2:], webhook("demo", "w0", "changed")), nil) // w1 is gone
	})
	s := c.next()
	if s.Webhook(key("demo", "w0")).Name != "changed" || s.Webhook(key("demo", "w1")) != nil || len(s.Webhooks()) != 49 {
		t.Errorf("%d webhooks", len(s.Webhooks()))
	}
	again.settled()
	if _, resources, removed := again.counts(); resources != 1 || removed != 1 {
		t.Errorf("%d resources and %d removals were sent, want 1 and 1", resources, removed)
	}
	if len(c.snapshots) != 0 {
		t.Errorf("%d more snapshots", len(c.snapshots))
	}
}

func TestScopeFollowsTheCredential(t *testing.T) {
	p := newPlane(t, "")
	for _, app := range []string{"a", "b", "c"} {
		p.Set(app, []*xds.Resource{webhook(app, "w", app), secret(app, "w", "s")}, nil)
	}
	one := start(t, quick(dial(t, p.addr, "one a")))
	liar := quick(dial(t, p.addr, "two b c b"))
	liar.NodeID = "a"
	two := start(t, liar)
	if s := one.next(); !slices.Equal(s.Apps(), []string{"a"}) {
		t.Errorf("one sees %v", s.Apps())
	}
	if s := two.next(); !slices.Equal(s.Apps(), []string{"b", "c"}) {
		t.Errorf("two sees %v", s.Apps())
	}
	p.settled()
	before, _, _ := p.counts()
	p.Set("b", []*xds.Resource{webhook("b", "w", "changed")}, nil)
	two.next()
	p.settled()
	if after, _, _ := p.counts(); after != before+1 || len(one.snapshots) != 0 {
		t.Errorf("a change of b was sent %d times", after-before)
	}
	// A resource of another app cannot slip in.
	p.Set("b", []*xds.Resource{webhook("a", "evil", "evil")}, nil)
	if err := p.SetRaw("b", xds.WebhookType, "apps/a/webhooks/evil", &anypb.Any{}); err == nil {
		t.Error("SetRaw took a resource of another app")
	}
	if err := p.SetRaw("b", xds.TypePrefix+"Future", "apps/b/futures/x", &anypb.Any{}); err == nil {
		t.Error("SetRaw took an unknown type")
	}
	p.Set("a", []*xds.Resource{webhook("a", "fine", "fine")}, nil)
	if s := one.next(); s.Webhook(key("a", "evil")) != nil {
		t.Error("it slipped in")
	}
}

func TestNoCredential(t *testing.T) {
	p := newPlane(t, "")
	opts := quick(dial(t, p.addr, ""))
	tried := countTries(&opts)
	c := start(t, opts)
	for range 2 {
		receive(t, tried)
	}
	if s := c.Status(); s.Ready || s.Connected || !strings.Contains(s.LastError, "no token") {
		t.Errorf("status %+v", s)
	}
}

func TestEndStreams(t *testing.T) {
	p := newPlane(t, "")
	p.Set("demo", []*xds.Resource{webhook("demo", "w", "W")}, nil)
	c := start(t, quick(dial(t, p.addr, "car demo")))
	other := start(t, quick(dial(t, p.addr, "other demo")))
	c.next()
	other.next()
	p.settled()
	p.EndStreams(func(sidecar string) bool { return sidecar == "car" })
	p.await("a new stream", func() bool {
		n := 0
		for _, req := range p.got {
			if req.GetNode() != nil && req.GetTypeUrl() == xds.Types[0] && req.GetResponseNonce() == "" {
				n++
			}
		}
		return n >= 3
	})
	p.Set("demo", []*xds.Resource{webhook("demo", "w", "W2")}, nil)
	c.until(func(s *xds.Snapshot) bool { return s.Webhook(key("demo", "w")).Name == "W2" })
	other.until(func(s *xds.Snapshot) bool { return s.Webhook(key("demo", "w")).Name == "W2" })
	if n := other.Status().ConnectAttempts; n != 1 {
		t.Errorf("the other stream was ended too: %d attempts", n)
	}
}

func TestManyResources(t *testing.T) {
	p := newPlane(t, "")
	const n = 5_000 // and as many secrets
	var all []*xds.Resource
	for i := range n {
		id := fmt.Sprintf("w%05d", i)
		all = append(all, webhook("demo", id, "first"), secret("demo", id, "s"))
	}
	p.Set("demo", all, nil)
	c := start(t, quick(dial(t, p.addr, "car demo")))
	first := c.next()
	if len(first.Webhooks()) != n || len(first.Webhooks()[n-1].Secrets) != 1 {
		t.Fatalf("the first snapshot has %d webhooks", len(first.Webhooks()))
	}
	p.settled()
	p.mu.Lock()
	pieces := 0
	for _, resp := range p.sent {
		if strings.HasPrefix(resp.GetSystemVersionInfo(), xds.MorePrefix) {
			pieces++
		}
	}
	p.mu.Unlock()
	if pieces == 0 {
		t.Error("the test is too small: nothing was cut into pieces")
	}
	// A push of as many.
	for i := range n {
		all[2*i] = webhook("demo", fmt.Sprintf("w%05d", i), "second")
	}
	p.Set("demo", all, nil)
	second := c.next()
	for _, w := range second.Webhooks() {
		if w.Name != "second" {
			t.Fatalf("a part of the push went live: %s is still %s", w.ID, w.Name)
		}
	}
	p.settled()
	p.RemoveApp("demo")
	c.until(func(s *xds.Snapshot) bool { return s.App("demo") == nil })
}

func TestFailingApply(t *testing.T) {
	p := newPlane(t, "")
	p.Set("demo", []*xds.Resource{webhook("demo", "w", "good")}, nil)
	opts := quick(dial(t, p.addr, "car demo"))
	var healed atomic.Bool
	opts.Apply = func(s *xds.Snapshot) error {
		if w := s.Webhook(key("demo", "w")); w.Name == "cursed" && !healed.Load() {
			return errors.New("cannot be")
		}
		return nil
	}
	c := start(t, opts)
	c.next()
	p.settled()
	p.Set("demo", []*xds.Resource{webhook("demo", "w", "cursed")}, nil)
	p.await("two refusals", func() bool { return len(p.nacks) >= 2 })
	p.mu.Lock()
	nack := p.nacks[0]
	p.mu.Unlock()
	if len(nack.Rejections) != 1 || nack.Rejections[0].Name != "apps/demo/webhooks/w" ||
		!strings.Contains(nack.Message, "cannot be") {
		t.Errorf("NACK %+v", nack)
	}
	healed.Store(true)
	if s := c.next(); s.Webhook(key("demo", "w")).Name != "cursed" {
		t.Error("a snapshot that could not be applied is not tried again")
	}
}

func TestLastKnownGood(t *testing.T) {
	for _, lkgKey := range [][]byte{nil, bytes.Repeat([]byte{7}, 32)} {
		t.Run(fmt.Sprintf("key of %d", len(lkgKey)), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lkg")
			p := newPlane(t, "")
			p.Set("demo", []*xds.Resource{webhook("demo", "w", "W"), secret("demo", "w", "s")}, nil)
			opts := quick(dial(t, p.addr, "car demo"))
			opts.LKGPath, opts.LKGKey = path, lkgKey
			c := start(t, opts)
			want := c.next()
			c.stop() // writes
			p.stop()
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v", info.Mode())
			}
			if hidden := !bytes.Contains(file, []byte("0123456789abcdef")); hidden != (lkgKey != nil) {
				t.Errorf("key material hidden: %v", hidden)
			}

			// The control plane is down.
			opts = quick(dial(t, p.addr, "car demo"))
			opts.LKGPath, opts.LKGKey = path, lkgKey
			tried := countTries(&opts)
			c = start(t, opts)
			stale := c.next()
			receive(t, tried)
			if !stale.Stale || stale.Version != want.Version || len(stale.Webhook(key("demo", "w")).Secrets) != 1 {
				t.Errorf("stale snapshot %+v", stale)
			}
			if s := c.Status(); !s.Ready || !s.Stale {
				t.Errorf("status %+v", s)
			}
			// It comes back with one change: only that is sent.
			again := newFilledPlane(t, p.addr, func(p *plane) {
				p.Set("demo", []*xds.Resource{webhook("demo", "w", "W2"), secret("demo", "w", "s")}, nil)
			})
			if s := c.next(); s.Stale || s.Webhook(key("demo", "w")).Name != "W2" {
				t.Errorf("fresh snapshot %+v", s)
			}
			again.settled()
			if _, resources, _ := again.counts(); resources != 1 {
				t.Errorf("%d resources were sent, want 1", resources)
			}
		})
	}
}

// TestStaleIsConfirmed: a control plane that has the same configuration makes the snapshot fresh.
func TestStaleIsConfirmed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lkg")
	p := newPlane(t, "")
	p.Set("demo", []*xds.Resource{webhook("demo", "w", "W")}, nil)
	opts := quick(dial(t, p.addr, "car demo"))
	opts.LKGPath = path
	c := start(t, opts)
	want := c.next()
	c.stop()
	c = start(t, opts)
	if s := c.next(); !s.Stale || s.Version != want.Version {
		t.Errorf("first %+v", s)
	}
	if s := c.next(); s.Stale || s.Version != want.Version {
		t.Errorf("then %+v", s)
	}
}

func TestDamagedLastKnownGood(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lkg")
	p := newPlane(t, "")
	p.Set("demo", []*xds.Resource{webhook("demo", "w", "W")}, nil)
	opts := quick(dial(t, p.addr, "car demo"))
	opts.LKGPath = path
	c := start(t, opts)
	c.next()
	c.stop()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good)
	flipped[len(flipped)-3] ^= 1
	for name, damaged := range map[string][]byte{
		"empty": {}, "text": []byte("hello"), "cut": good[:len(good)-1], "flipped": flipped, "header": good[:20],
		"sealed without key": []byte("sidehook-lkg/1\nexxxxxxxxxxxxxxxxxxxxxxxxx"),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			c := start(t, opts)
			if s := c.next(); s.Stale || s.Webhook(key("demo", "w")) == nil {
				t.Errorf("first snapshot %+v", s)
			}
			c.stop()
			aside, _ := filepath.Glob(path + ".corrupt-*")
			if len(aside) != 1 {
				t.Fatalf("put aside: %v", aside)
			}
			if kept, _ := os.ReadFile(aside[0]); !bytes.Equal(kept, damaged) {
				t.Error("what was put aside is not what was there")
			}
			_ = os.Remove(aside[0])
			if now, _ := os.ReadFile(path); !bytes.Equal(now, good) {
				t.Error("the file was not written anew")
			}
		})
	}
}

func TestUnknownTypeKeepsTheStream(t *testing.T) {
	p := newPlane(t, "")
	p.Set("demo", []*xds.Resource{webhook("demo", "w", "W")}, nil)
	ads, err := discovery.NewAggregatedDiscoveryServiceClient(dial(t, p.addr, "car demo")).DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, typeURL := range []string{xds.TypePrefix + "Future", xds.WebhookType} {
		if err := ads.Send(&discovery.DeltaDiscoveryRequest{
			TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"},
			InitialResourceVersions: map[string]string{"": "99/99"}, // a lie about our own bookkeeping
		}); err != nil {
			t.Fatal(err)
		}
		resp, err := ads.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if want := typeURL == xds.WebhookType; resp.GetTypeUrl() != typeURL || (len(resp.GetResources()) == 1) != want {
			t.Errorf("%s: %v", typeURL, resp)
		}
	}
}
