package xds

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidehook/sidehook"
)

func mixed() []*Resource {
	all := many(5)
	other := testWebhook("w0")
	other.App = "other"
	return append(all,
		OfWebhook(other),
		OfSecret(testSecret("w000000", "r")),
		OfSecret(testSecret("nobody", "s")),
		OfAppPolicy(&AppPolicy{App: "demo", DisplayName: "Demo"}),
		OfAppPolicy(&AppPolicy{App: "empty"}),
		OfTransformer(&Transformer{App: "demo", Name: "redact"}),
		OfEventType(&sidehook.EventType{App: "demo", Type: "person.created"}),
	)
}

func TestSnapshotContents(t *testing.T) {
	s := NewSnapshot(mixed())
	if got := s.Apps(); !slices.Equal(got, []string{"demo", "empty", "other"}) {
		t.Errorf("apps %v", got)
	}
	demo := s.App("demo")
	if demo.Policy.DisplayName != "Demo" || demo.Transformers["redact"] == nil || demo.EventTypes["person.created"] == nil {
		t.Errorf("demo is %+v", demo)
	}
	if e := s.App("empty"); e.EventTypes == nil || e.Transformers == nil || len(e.Webhooks) != 0 {
		t.Errorf("empty is %+v", e)
	}
	if s.App("nobody") != nil || s.Webhook(sidehook.WebhookKey{App: "nobody", ID: "w"}) != nil {
		t.Error("an app that is not there")
	}
	w := s.Webhook(sidehook.WebhookKey{App: "demo", ID: "w000000"})
	if w == nil || len(w.Secrets) != 2 || w.Secrets[0].ID != "r" || w.Secrets[1].ID != "s" {
		t.Errorf("webhook is %+v", w)
	}
	if s.Webhook(sidehook.WebhookKey{App: "demo", ID: "w0000005"}) != nil {
		t.Error("a webhook that is not there")
	}
	var ids []string
	for _, w := range s.Webhooks() {
		ids = append(ids, w.Key().String())
	}
	if !slices.IsSorted(ids) || len(ids) != 6 {
		t.Errorf("webhooks %v", ids)
	}
}

func TestSnapshotVersion(t *testing.T) {
	all := mixed()
	want := NewSnapshot(all).Version
	if want == NewSnapshot(nil).Version || len(want) != 16 {
		t.Fatalf("version %q", want)
	}
	for range 20 {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if got := NewSnapshot(all).Version; got != want {
			t.Fatalf("order changes the version from %s to %s", want, got)
		}
	}
	for i := range all {
		if got := NewSnapshot(slices.Delete(slices.Clone(all), i, i+1)).Version; got == want {
			t.Errorf("version is the same without %s", all[i].Name)
		}
	}
	if got := NewSnapshot(append(slices.Clone(all), all[0])).Version; got != want {
		t.Error("a resource given twice changes the version")
	}
	changed := *anyWebhook(t, all)
	changed.Name = "changed"
	if s := NewSnapshot(append(slices.Clone(all), OfWebhook(&changed))); s.Version == want ||
		s.Webhook(changed.Key()).Name != "changed" {
		t.Error("of two with one name the later must count")
	}
}

func anyWebhook(t *testing.T, all []*Resource) *sidehook.Webhook {
	t.Helper()
	for _, r := range all {
		if r.Webhook != nil {
			return r.Webhook
		}
	}
	t.Fatal("no webhook")
	return nil
}

// TestBuilderAgainstNew: whatever the way, the snapshot is the one that NewSnapshot makes of the same set, and earlier
// snapshots do not change.
func TestBuilderAgainstNew(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := NewBuilder()
		set := make(map[string]*Resource)
		type kept struct {
			snapshot *Snapshot
			want     *Snapshot
		}
		var earlier []kept
		for range 40 {
			for range rng.IntN(6) {
				r := randomResource(rng)
				if rng.IntN(3) == 0 {
					b.Remove(r.Name)
					delete(set, r.Name)
				} else {
					b.Put(r)
					set[r.Name] = r
				}
			}
			all := make([]*Resource, 0, len(set))
			for _, r := range set {
				all = append(all, r)
			}
			earlier = append(earlier, kept{b.Build(), NewSnapshot(all)})
			if b.Len() != len(set) {
				t.Fatalf("seed %d: %d resources, want %d", seed, b.Len(), len(set))
			}
		}
		for i, k := range earlier {
			if diff := cmp.Diff(k.want, k.snapshot, cmp.AllowUnexported(Snapshot{}),
				cmp.Comparer(func(a, b sidehook.Key) bool { return a.Equal(b) })); diff != "" {
				t.Fatalf("seed %d, snapshot %d: %s", seed, i, diff)
			}
		}
	}
}

func randomResource(rng *rand.Rand) *Resource {
	app := []string{"a", "b"}[rng.IntN(2)]
	id := []string{"w0", "w1", "w2", "w3"}[rng.IntN(4)]
	switch rng.IntN(6) {
	case 0, 1:
		w := testWebhook(id)
		w.App, w.Name = app, []string{"x", "y"}[rng.IntN(2)]
		w.Events = append([]string(nil), w.Events...)
		return OfWebhook(w)
	case 2, 3:
		s := testSecret(id, []string{"s", "t"}[rng.IntN(2)])
		s.App = app
		return OfSecret(s)
	case 4:
		return OfTransformer(&Transformer{App: app, Name: id})
	default:
		if rng.IntN(2) == 0 {
			return OfAppPolicy(&AppPolicy{App: app})
		}
		return OfEventType(&sidehook.EventType{App: app, Type: id})
	}
}

// TestBuilderShares: a change copies what it touches only.
func TestBuilderShares(t *testing.T) {
	b := NewBuilder()
	for _, r := range mixed() {
		b.Put(r)
	}
	before := b.Build()
	changed := testWebhook("w000001")
	changed.Name = "changed"
	b.Put(OfWebhook(changed))
	after := b.Build()
	if before.Version == after.Version {
		t.Error("version did not change")
	}
	if before.App("other") != after.App("other") {
		t.Error("an app that did not change was built again")
	}
	k := changed.Key()
	if before.Webhook(k) == after.Webhook(k) || before.Webhook(k).Name == "changed" {
		t.Error("the earlier snapshot changed")
	}
	k.ID = "w000002"
	if before.Webhook(k) != after.Webhook(k) {
		t.Error("a webhook that did not change was built again")
	}
}

func BenchmarkNewSnapshot100k(b *testing.B) {
	all := many(100_000)
	b.ResetTimer()
	for b.Loop() {
		NewSnapshot(all)
	}
}

func BenchmarkBuilderOneChangeOf100k(b *testing.B) {
	builder := NewBuilder()
	for _, r := range many(100_000) {
		builder.Put(r)
	}
	builder.Build()
	w := testWebhook("w050000")
	flip := [2]*Resource{OfWebhook(w)}
	changed := *w
	changed.Name = "changed"
	flip[1] = OfWebhook(&changed)
	i := 0
	b.ResetTimer()
	for b.Loop() {
		i++
		builder.Put(flip[i&1])
		builder.Build()
	}
}
