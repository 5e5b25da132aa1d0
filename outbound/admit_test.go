package outbound

import (
	"fmt"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds"
)

// admitting is what admit needs: an app that is lenient or strict, whose type order.paid has a schema or none, and a
// batch of ten of its events.
func admitting(tb testing.TB, publish sidehook.PublishMode, schema string) (*Engine, *config, []*sidehook.Event) {
	tb.Helper()
	k, err := knownOf(&xds.App{
		ID: "demo", Policy: &xds.AppPolicy{App: "demo", Publish: publish},
		EventTypes: map[string]*sidehook.EventType{"order.paid": {App: "demo", Type: "order.paid", Schema: []byte(schema)}},
	}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	events := make([]*sidehook.Event, 10)
	for i := range events {
		events[i] = &sidehook.Event{
			App: "demo", ID: fmt.Sprint(i), Type: "order.paid", DataContentType: "application/json",
			Data: []byte(`{"id":7,"customer":{"email":"a@example.com"},"total":19.99}`),
		}
	}
	return &Engine{}, &config{apps: map[string]*appConfig{"demo": {known: k}}}, events
}

const orderSchema = `{"type":"object","required":["id","customer"],"properties":{"id":{"type":"integer"},` +
	`"customer":{"type":"object","required":["email"]},"total":{"type":"number","minimum":0}}}`

func TestAdmitWithoutSchemasAllocatesNothing(t *testing.T) {
	for _, publish := range []sidehook.PublishMode{sidehook.PublishLenient, sidehook.PublishStrict} {
		e, c, events := admitting(t, publish, "")
		if n := testing.AllocsPerRun(100, func() {
			if err := e.admit(t.Context(), c, events, false); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", publish, n)
		}
	}
}

// TestSchemasAreKept: a snapshot that changes another event type compiles nothing again.
func TestSchemasAreKept(t *testing.T) {
	paid := &sidehook.EventType{App: "demo", Type: "order.paid", Schema: []byte(orderSchema)}
	app := &xds.App{ID: "demo", EventTypes: map[string]*sidehook.EventType{paid.Type: paid}}
	before, err := knownOf(app, nil)
	if err != nil {
		t.Fatal(err)
	}
	open := &sidehook.EventType{App: "demo", Type: "order.open", Schema: []byte(`{"type":"object"}`)}
	after, err := knownOf(&xds.App{ID: "demo", EventTypes: map[string]*sidehook.EventType{paid.Type: paid, open.Type: open}}, &before)
	if err != nil {
		t.Fatal(err)
	}
	if after.schemas[paid.Type] != before.schemas[paid.Type] || after.schemas[open.Type].schema == nil {
		t.Errorf("before %v, after %v", before.schemas, after.schemas)
	}
}

func BenchmarkAdmit(b *testing.B) {
	for name, schema := range map[string]string{"no schema": "", "schema": orderSchema} {
		for _, publish := range []sidehook.PublishMode{sidehook.PublishLenient, sidehook.PublishStrict} {
			b.Run(fmt.Sprintf("%s/%s", name, publish), func(b *testing.B) {
				e, c, events := admitting(b, publish, schema)
				b.ReportAllocs()
				for b.Loop() {
					if err := e.admit(b.Context(), c, events, false); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
