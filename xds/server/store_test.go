package server

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sidehook/sidehook/xds"
)

const typ = xds.WebhookType

func resourceOf(name, body string) *discovery.Resource {
	return &discovery.Resource{
		Name: name, Version: xds.VersionOf(name, []byte(body)), Resource: &anypb.Any{TypeUrl: typ, Value: []byte(body)},
	}
}

// mirror is a wildcard client of a store, as the library and a well-behaved client would act together.
type mirror struct {
	apps  []string
	known map[string]string // what the library keeps
	has   map[string]string // what the client has: versions by name
	late  []*update         // computed and not taken yet
}

func (m *mirror) reconnect() {
	m.known = maps.Clone(m.has)
	m.late = nil
}

// ask takes one update, and reports whether there is more.
func (m *mirror) ask(t *testing.T, s *store) (more bool) {
	t.Helper()
	_, begun := m.known[cursorKey]
	u, err := s.wildcard(m.apps, typ, m.known)
	if errors.Is(err, errBehind) {
		m.reconnect()
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	m.known = u.next
	for _, r := range u.resources {
		if !begun && m.has[r.GetName()] == r.GetVersion() { // later a change there and back may be sent
			t.Errorf("%s was sent although it did not change", r.GetName())
		}
		m.has[r.GetName()] = r.GetVersion()
	}
	for _, name := range u.removed {
		delete(m.has, name)
	}
	if !u.more && len(m.known) != 1 {
		t.Errorf("a client that is up to date costs %d entries", len(m.known))
	}
	return u.more
}

// TestStoreAgainstModel: whatever happens, a client that asked until there was no more has what its apps have.
func TestStoreAgainstModel(t *testing.T) {
	apps := []string{"a", "b", "c"}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		s := newStore()
		s.limit, s.keep = 300, 3
		s.hold([]string{"a", "b", "c"})
		model := make(map[string]map[string]string)
		var mirrors []*mirror
		for _, scope := range [][]string{{"a"}, {"b"}, {"a", "b"}, {"a", "b", "c"}, {}} {
			m := &mirror{apps: scope, has: make(map[string]string)}
			m.reconnect()
			mirrors = append(mirrors, m)
		}
		for range 150 {
			app := apps[rng.IntN(3)]
			c := make(change)
			if model[app] == nil || rng.IntN(25) == 0 {
				model[app] = make(map[string]string)
				s.replace(app, c)
			}
			for range rng.IntN(8) {
				name := fmt.Sprintf("apps/%s/webhooks/%d", app, rng.IntN(15))
				if rng.IntN(2) == 0 {
					c.add(typ, name, nil)
					delete(model[app], name)
				} else {
					r := resourceOf(name, fmt.Sprint(rng.IntN(3)))
					c.add(typ, name, r)
					model[app][name] = r.GetVersion()
				}
			}
			s.apply(app, c)
			for _, m := range mirrors {
				switch rng.IntN(6) {
				case 0:
					m.ask(t, s)
				case 1:
					m.reconnect()
				case 2:
					for m.ask(t, s) {
					}
					m.compare(t, seed, model)
				}
			}
			for app, col := range s.apps {
				c := col[typ]
				live := len(c.entries) - c.removed
				if c.removed > 2*(live+s.keep) || len(c.log) > 2*len(c.entries)+64 || live != len(model[app]) {
					t.Fatalf("seed %d: %d removals and a log of %d for %d", seed, c.removed, len(c.log), live)
				}
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func (m *mirror) compare(t *testing.T, seed uint64, model map[string]map[string]string) {
	t.Helper()
	want := make(map[string]string)
	for _, app := range m.apps {
		maps.Copy(want, model[app])
	}
	if !maps.Equal(want, m.has) {
		t.Fatalf("seed %d: a client of %v has %v, want %v", seed, m.apps, m.has, want)
	}
}

func TestNamed(t *testing.T) {
	s := newStore()
	s.apply("a", change{typ: {"apps/a/webhooks/1": resourceOf("apps/a/webhooks/1", "x")}})
	s.apply("b", change{typ: {"apps/b/webhooks/1": resourceOf("apps/b/webhooks/1", "x")}})
	names := map[string]struct{}{"apps/a/webhooks/1": {}, "apps/b/webhooks/1": {}, "apps/a/webhooks/2": {}}
	ask := func(known map[string]string) (resources, removed []string, next map[string]string) {
		u := s.named([]string{"a"}, typ, known, names)
		for _, r := range u.resources {
			resources = append(resources, r.GetName())
		}
		slices.Sort(u.removed)
		return resources, u.removed, u.next
	}
	got, gone, known := ask(nil)
	if !slices.Equal(got, []string{"apps/a/webhooks/1"}) ||
		!slices.Equal(gone, []string{"apps/a/webhooks/2", "apps/b/webhooks/1"}) {
		t.Errorf("at first %v and %v", got, gone)
	}
	if got, gone, _ = ask(known); len(got)+len(gone) != 0 {
		t.Errorf("then %v and %v", got, gone)
	}
	s.apply("a", change{typ: {"apps/a/webhooks/1": nil, "apps/a/webhooks/2": resourceOf("apps/a/webhooks/2", "y")}})
	if got, gone, known = ask(known); !slices.Equal(got, []string{"apps/a/webhooks/2"}) ||
		!slices.Equal(gone, []string{"apps/a/webhooks/1"}) {
		t.Errorf("after a change %v and %v", got, gone)
	}
	delete(names, "apps/a/webhooks/2")
	if _, _, known = ask(known); len(known) != 2 {
		t.Errorf("after unsubscribing it still knows %v", known)
	}
}

// TestUnsubscribeByName: the library marks a name that a wildcard client unsubscribed from; it is sent again.
func TestUnsubscribeByName(t *testing.T) {
	s := newStore()
	s.hold([]string{"a"})
	s.apply("a", change{typ: {"apps/a/webhooks/1": resourceOf("apps/a/webhooks/1", "x")}})
	m := &mirror{apps: []string{"a"}, has: make(map[string]string)}
	m.reconnect()
	m.ask(t, s)
	m.known["apps/a/webhooks/1"], m.known["apps/a/webhooks/2"] = "", ""
	u, err := s.wildcard(m.apps, typ, m.known)
	if err != nil || len(u.resources) != 1 || !slices.Equal(u.removed, []string{"apps/a/webhooks/2"}) || len(u.next) != 1 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestPurge(t *testing.T) {
	s := newStore()
	s.apply("a", change{typ: {"apps/a/webhooks/1": resourceOf("apps/a/webhooks/1", "x")}})
	s.hold([]string{"a", "never"})
	s.replace("a", make(change))
	if s.apps["a"] == nil {
		t.Error("an app that a stream can see was forgotten: its removal may not have been told")
	}
	s.release([]string{"a", "never"})
	if len(s.apps) != 0 || len(s.holders) != 0 {
		t.Errorf("kept %v and %v", s.apps, s.holders)
	}
}

// BenchmarkOneChange: what one change costs for 1,000 streams that all see 100,000 webhooks, without the network.
func BenchmarkOneChange(b *testing.B) {
	s := newStore()
	apps := []string{"a"}
	s.hold(apps)
	all := make(change)
	for i := range 100_000 {
		name := fmt.Sprintf("apps/a/webhooks/%06d", i)
		all.add(typ, name, resourceOf(name, "some webhook"))
	}
	s.apply("a", all)
	known := make([]map[string]string, 1000)
	start := map[string]string{cursorKey: cursor{seq: s.seq, base: s.seq}.String()}
	var sent int
	wait := func(i int) {
		w := &watch{typeURL: typ, apps: apps}
		w.answer = func() bool {
			u, err := s.wildcard(apps, typ, maps.Clone(known[i]))
			if err != nil || len(u.resources) != 1 {
				b.Fatalf("%+v, %v", u, err)
			}
			known[i] = u.next
			sent++
			return true
		}
		s.wait(w)
	}
	for i := range known {
		known[i] = start
	}
	n := 0
	for b.Loop() {
		for i := range known {
			wait(i)
		}
		n++
		s.apply("a", change{typ: {"apps/a/webhooks/000007": resourceOf("apps/a/webhooks/000007", fmt.Sprint(n))}})
	}
	if sent != n*len(known) {
		b.Fatalf("%d answers, want %d", sent, n*len(known))
	}
}
