package control_test

import (
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control/catalogue"
)

// TestTestEvents: every event of every catalogue makes a test event that a sidecar takes.
func TestTestEvents(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	ids := make(map[string]bool)
	for _, name := range catalogue.Names() {
		if _, err := p.svc.ImportEventTypes(t.Context(), "demo", name, false); err != nil {
			t.Fatal(err)
		}
		c, _ := catalogue.Lookup(name)
		for _, entry := range c.EventTypes {
			e, err := p.svc.TestEvent(t.Context(), "demo", entry.Type)
			if err != nil {
				t.Fatalf("%s: %v", entry.Type, err)
			}
			if e.App != "demo" || e.Type != entry.Type || string(e.Data) != string(entry.Sample) || !e.IsJSON() ||
				e.Source != "/sidehook/test" || time.Since(e.Time).Abs() > time.Minute {
				t.Errorf("%s: %+v", entry.Type, e)
			}
			if err := e.Validate(0); err != nil {
				t.Errorf("%s: %v", entry.Type, err)
			}
			if ids[e.ID] {
				t.Errorf("%s: id %s is there twice", entry.Type, e.ID)
			}
			ids[e.ID] = true
		}
	}
}

func TestTestEventWithoutSample(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	plain := regexp.MustCompile(`^\{"data":"Test Data","date":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"\}$`)
	if _, _, err := p.svc.PutEventType(t.Context(), sidehook.EventType{App: "demo", Type: "bare"}); err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{"bare", "unknown"} {
		e, err := p.svc.TestEvent(t.Context(), "demo", typ)
		if err != nil || !plain.Match(e.Data) {
			t.Errorf("%s: %+v, %v", typ, e, err)
		}
	}
	p.do(p.admin, "PUT", "/v1/apps/demo", `{"publish":"strict"}`).want(200)
	for typ, field := range map[string]string{"bare": "", "unknown": "event_type", "": "event_type", "a b": "event_type"} {
		_, err := p.svc.TestEvent(t.Context(), "demo", typ)
		var fe *sidehook.FieldError
		if field == "" && err != nil || field != "" && (!errors.As(err, &fe) || fe.Field != field) {
			t.Errorf("strict %q: %v", typ, err)
		}
	}
	if _, err := p.svc.TestEvent(t.Context(), "none", "bare"); !errors.Is(err, sidehook.ErrNotFound) {
		t.Errorf("no app: %v", err)
	}
}
