package control_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/memkv"
	"github.com/sidehook/sidehook/xds"
)

var appSpec = control.AppSpec{DisplayName: "Demo"}

// replica starts another service on the plane's store.
func (p *plane) replica() *plane {
	p.t.Helper()
	svc, err := control.New(control.Options{KV: p.kv})
	p.check(err)
	r := &plane{t: p.t, svc: svc, pub: &published{apps: make(map[string]map[string]*xds.Resource)}}
	p.check(svc.Start(p.t.Context(), r.pub, nil))
	p.t.Cleanup(func() { p.check(svc.Close()) })
	return r
}

// newService is a service on a fresh in-memory store with a clock that the test sets.
func newService(t *testing.T) (svc *control.Service, kv storage.KV, now *time.Time) {
	t.Helper()
	now = new(time.Time)
	*now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	kv = memkv.New()
	svc, err := control.New(control.Options{KV: kv, Now: func() time.Time { return *now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(svc.Close(), kv.Close()); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := svc.PutApp(t.Context(), "demo", appSpec); err != nil {
		t.Fatal(err)
	}
	return svc, kv, now
}

func create(t *testing.T, svc *control.Service, name string) sidehook.WebhookKey {
	t.Helper()
	w, _, err := svc.CreateWebhook(t.Context(), sidehook.Webhook{
		App: "demo", Name: name, URL: "https://example.com/", Events: []string{"*"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.Key()
}

func TestNewNeedsStore(t *testing.T) {
	if _, err := control.New(control.Options{}); err == nil {
		t.Error("a service without a store was made")
	}
	if _, err := control.NewFleet(control.FleetOptions{}); err == nil {
		t.Error("a fleet without authentication was made")
	}
}

func TestSecretsEndAndArePruned(t *testing.T) {
	svc, _, now := newService(t)
	k := create(t, svc, "a")
	*now = now.Add(time.Minute)
	if _, _, err := svc.RotateSecret(t.Context(), k, time.Hour); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(time.Minute)
	_, _, err := svc.RotateSecret(t.Context(), k, 48*time.Hour) // does not prolong the first
	if err != nil {
		t.Fatal(err)
	}
	infos, err := svc.ListSecrets(t.Context(), k)
	if err != nil || len(infos) != 3 {
		t.Fatalf("%+v, %v", infos, err)
	}
	wantEnds := []time.Time{{}, now.Add(48 * time.Hour), now.Add(time.Hour - time.Minute)}
	for i, info := range infos {
		if !info.NotAfter.Equal(wantEnds[i]) || !info.Live {
			t.Errorf("secret %d ends at %v, want %v; live %v", i, info.NotAfter, wantEnds[i], info.Live)
		}
	}
	*now = infos[2].NotAfter
	if infos, err = svc.ListSecrets(t.Context(), k); err != nil || infos[2].Live {
		t.Errorf("at its end the secret is still live: %+v, %v", infos[2], err)
	}
	if _, _, err := svc.RotateSecret(t.Context(), k, time.Hour); err != nil {
		t.Fatal(err)
	}
	if infos, err = svc.ListSecrets(t.Context(), k); err != nil || len(infos) != 3 {
		t.Errorf("the ended secret is still there: %+v, %v", infos, err)
	}
}

func TestDisableGone(t *testing.T) {
	svc, _, now := newService(t)
	k := create(t, svc, "a")
	status := func() sidehook.WebhookStatus {
		w, err := svc.GetWebhook(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		return w.Status
	}
	if err := svc.DisableGone(t.Context(), k, now.Add(-time.Second)); err != nil || status() != sidehook.WebhookEnabled {
		t.Errorf("gone before the webhook was changed: %v, %v", status(), err)
	}
	if err := svc.DisableGone(t.Context(), k, *now); err != nil || status() != sidehook.WebhookDisabled {
		t.Errorf("gone: %v, %v", status(), err)
	}
	gone := *now
	*now = now.Add(time.Minute)
	w, err := svc.EnableWebhook(t.Context(), k)
	if err != nil || w.DisabledReason != "" {
		t.Fatalf("%+v, %v", w, err)
	}
	if err := svc.DisableGone(t.Context(), k, gone); err != nil || status() != sidehook.WebhookEnabled {
		t.Errorf("a repeated report disabled it again: %v, %v", status(), err)
	}
	if err := svc.DisableGone(t.Context(), sidehook.WebhookKey{App: "demo", ID: "none"}, gone); err != nil {
		t.Errorf("of a webhook that is not there: %v", err)
	}
}

func TestAdminTokenFile(t *testing.T) {
	svc, kv, _ := newService(t)
	path := filepath.Join(t.TempDir(), "new", "admin.token")
	if err := svc.EnsureAdminToken(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	token, err := svc.Authenticate(t.Context(), strings.TrimSpace(string(first)))
	if err != nil || token.Kind != control.TokenAdmin {
		t.Fatalf("%+v, %v", token, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := svc.EnsureAdminToken(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("a second admin token was made")
	}
	pairs, _, err := kv.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pairs {
		if strings.Contains(p.Key, string(first[4:20])) || bytes.Contains(p.Value, first[4:20]) {
			t.Errorf("the token is stored in %q", p.Key)
		}
	}
}

func TestAdminTokenIsTakenFromFile(t *testing.T) {
	svc, _, _ := newService(t)
	path := filepath.Join(t.TempDir(), "admin.token")
	provided := "sht_" + strings.Repeat("A", 43)
	if err := os.WriteFile(path, []byte(provided+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := svc.EnsureAdminToken(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.Authenticate(t.Context(), provided); err != nil {
		t.Error(err)
	}
	other, _, _ := newService(t)
	if err := os.WriteFile(path, []byte("letmein"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := other.EnsureAdminToken(t.Context(), path); err == nil || strings.Contains(err.Error(), "letmein") {
		t.Errorf("a file without a token: %v", err)
	}
}

// brokenKV fails or disturbs a real store.
type brokenKV struct {
	storage.KV
	conflicts int // commits that are told ErrConflict first
}

func (b *brokenKV) Commit(ctx context.Context, conds []storage.Cond, ops []storage.Op) (int64, error) {
	if b.conflicts > 0 {
		b.conflicts--
		return 0, storage.ErrConflict
	}
	return b.KV.Commit(ctx, conds, ops)
}

func TestConflictsAreTriedAgain(t *testing.T) {
	kv := &brokenKV{KV: memkv.New(), conflicts: 5}
	defer func() { _ = kv.Close() }()
	svc, err := control.New(control.Options{KV: kv})
	if err != nil {
		t.Fatal(err)
	}
	if _, created, err := svc.PutApp(t.Context(), "demo", appSpec); err != nil || !created || kv.conflicts != 0 {
		t.Fatalf("created %v, %d conflicts left, %v", created, kv.conflicts, err)
	}
	kv.conflicts = 1 << 30
	cause := errors.New("gave up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, _, err := svc.PutApp(ctx, "demo", appSpec); !errors.Is(err, cause) {
		t.Errorf("with a cancelled context: %v", err)
	}
}

// gate is a Publisher that holds up Set until it is opened.
type gate struct {
	published
	open chan struct{}
}

func (g *gate) Set(app string, put []*xds.Resource, remove []string) {
	<-g.open
	g.published.Set(app, put, remove)
}

// TestChangeReturnsAfterItWasHandedOver: whoever has the answer can rely on the sidecars being told.
func TestChangeReturnsAfterItWasHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := memkv.New()
		defer func() { _ = kv.Close() }()
		svc, err := control.New(control.Options{KV: kv})
		if err != nil {
			t.Fatal(err)
		}
		pub := &gate{published{apps: make(map[string]map[string]*xds.Resource)}, make(chan struct{})}
		if err := svc.Start(t.Context(), pub, nil); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = svc.Close() }()
		answer := make(chan error, 1)
		go func() {
			_, _, err := svc.PutApp(t.Context(), "demo", appSpec)
			answer <- err
		}()
		synctest.Wait() // until nothing goes on without the gate
		select {
		case err := <-answer:
			t.Errorf("answered before it was handed over: %v", err)
		default:
		}
		close(pub.open)
		if err := <-answer; err != nil || pub.names("demo", "policy") == nil {
			t.Errorf("handed over %v, %v", pub.apps, err)
		}
	})
}

// TestSlowPublisherLosesNoAnswer: a change that is durable is answered, with its secret, even if nobody takes it.
func TestSlowPublisherLosesNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := memkv.New()
		defer func() { _ = kv.Close() }()
		svc, err := control.New(control.Options{KV: kv})
		if err != nil {
			t.Fatal(err)
		}
		pub := &gate{published{apps: make(map[string]map[string]*xds.Resource)}, make(chan struct{})}
		if err := svc.Start(t.Context(), pub, nil); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, _, err := svc.PutApp(t.Context(), "demo", appSpec); err != nil {
			t.Error(err)
		}
		if waited := time.Since(start); waited != 5*time.Second {
			t.Errorf("answered after %s", waited)
		}
		close(pub.open)
		if err := svc.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFallsBehind makes the service lose its watch: it must load everything anew.
func TestFallsBehind(t *testing.T) {
	kv := memkv.New()
	defer func() { _ = kv.Close() }()
	cut := &cuttingKV{KV: kv, cut: make(chan struct{}, 1)}
	svc, err := control.New(control.Options{KV: cut})
	if err != nil {
		t.Fatal(err)
	}
	pub := &published{apps: make(map[string]map[string]*xds.Resource)}
	revoked := make(chan string, 1)
	if _, _, err := svc.PutApp(t.Context(), "old", appSpec); err != nil {
		t.Fatal(err)
	}
	token, _, err := svc.CreateToken(t.Context(), control.TokenSpec{Name: "t", Kind: control.TokenSidecar, Apps: []string{"old"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := svc.Start(t.Context(), pub, func(id string) { revoked <- id }); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = svc.Close() }()
	if pub.names("old", "policy") == nil {
		t.Fatal("nothing is published at the start")
	}
	cut.cut <- struct{}{} // from now on changes do not reach the service until it watches again
	<-cut.ended()
	other, err := control.New(control.Options{KV: kv})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.RevokeToken(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	if err := other.DeleteApp(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := svc.PutApp(t.Context(), "new", appSpec); err != nil { // waits until it is published
		t.Fatal(err)
	}
	select {
	case got := <-revoked:
		if got != token.ID {
			t.Errorf("revoked %q", got)
		}
	case <-time.After(20 * time.Second):
		t.Error("the revoked token was not noticed")
	}
	if pub.names("old", "") != nil || pub.names("new", "policy") == nil || !svc.Ready() {
		t.Errorf("published %v", pub.apps)
	}
}

// cuttingKV ends the first watch when it is told to.
type cuttingKV struct {
	storage.KV
	cut  chan struct{}
	used bool
	done chan struct{}
}

func (c *cuttingKV) ended() <-chan struct{} { return c.done }

func (c *cuttingKV) Watch(ctx context.Context, prefix string, from int64) (<-chan storage.Change, error) {
	changes, err := c.KV.Watch(ctx, prefix, from)
	if c.used || err != nil {
		return changes, err
	}
	c.used, c.done = true, make(chan struct{})
	out := make(chan storage.Change)
	go func() {
		defer close(c.done)
		defer close(out)
		for {
			select {
			case <-c.cut:
				return
			case <-ctx.Done():
				return
			case change := <-changes:
				out <- change
			}
		}
	}()
	return out, nil
}

func TestDamagedRecordsDoNotStopTheRest(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	id, _ := p.makeWebhook("demo", "good")
	_, err := p.kv.Commit(t.Context(), nil, []storage.Op{
		{Key: "webhooks/demo/wh_bad", Value: []byte(`{"url":"hunter2`)},
		{Key: "secrets/demo/" + id + "/bad", Value: []byte(`{"key":"AAAA"}`)},
		{Key: "something/else", Value: []byte(`x`)},
	})
	p.check(err)
	_, _, err = p.svc.PutApp(t.Context(), "demo", appSpec)
	p.check(err)
	for range 2 {
		if got := p.pub.names("demo", "/webhooks/"); len(got) != 1 {
			t.Errorf("published %q", got)
		}
		if got := p.pub.names("demo", "/secrets/"); len(got) != 1 {
			t.Errorf("published %q", got)
		}
		p.reopen()
	}
	p.do(p.admin, "GET", "/v1/apps/demo/webhooks/wh_bad", "").wantProblem(500, "", "log")
	if log := p.log.String(); !strings.Contains(log, "damaged") || strings.Contains(log, "hunter2") {
		t.Errorf("log: %s", log)
	}
}

// TestCreateAppOverwritesNothing: of many who create an app at once one does, and the others hear of it.
func TestCreateAppOverwritesNothing(t *testing.T) {
	p := newPlane(t)
	const racers = 8
	errs := make(chan error, racers)
	for i := range racers {
		go func() {
			_, err := p.svc.CreateApp(t.Context(), "race", control.AppSpec{DisplayName: string(rune('a' + i))})
			errs <- err
		}()
	}
	created := 0
	for range racers {
		var conflict *control.ConflictError
		switch err := <-errs; {
		case err == nil:
			created++
		case !errors.As(err, &conflict) || conflict.Field != "app":
			t.Errorf("who comes late gets %v", err)
		}
	}
	if created != 1 {
		t.Errorf("%d created it", created)
	}
	if _, err := p.svc.CreateApp(t.Context(), "../x", control.AppSpec{}); !errors.As(err, new(*sidehook.FieldError)) {
		t.Errorf("a bad id gives %v", err)
	}
}
