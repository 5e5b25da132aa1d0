package outbound_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds"
)

// catalogued is a configuration with one webhook that wants everything, and a catalogue.
func (k *kit) catalogued(publish sidehook.PublishMode, types ...string) *xds.Snapshot {
	k.t.Helper()
	key, err := sidehook.KeyFromBytes([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		k.t.Fatal(err)
	}
	rs := []*xds.Resource{
		xds.OfAppPolicy(&xds.AppPolicy{App: "demo", Publish: publish}), xds.OfWebhook(webhook("all")),
		xds.OfSecret(&sidehook.Secret{App: "demo", Webhook: "all", ID: "s1", Key: key}),
	}
	for _, typ := range types {
		rs = append(rs, xds.OfEventType(&sidehook.EventType{App: "demo", Type: typ}))
	}
	return xds.NewSnapshot(rs)
}

// unknown is how many events of unknown type were taken and refused.
func (k *kit) unknown() [2]int64 {
	c := k.engine.Counts()
	return [2]int64{c.UnknownTaken, c.UnknownRefused}
}

// described is catalogued with schemas, by type; a type with an empty one has none.
func (k *kit) described(publish sidehook.PublishMode, schemas map[string]string) *xds.Snapshot {
	k.t.Helper()
	b := xds.NewBuilder()
	b.Put(xds.OfAppPolicy(&xds.AppPolicy{App: "demo", Publish: publish}))
	b.Put(xds.OfWebhook(webhook("all")))
	key, err := sidehook.KeyFromBytes([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		k.t.Fatal(err)
	}
	b.Put(xds.OfSecret(&sidehook.Secret{App: "demo", Webhook: "all", ID: "s1", Key: key}))
	for typ, schema := range schemas {
		b.Put(xds.OfEventType(&sidehook.EventType{App: "demo", Type: typ, Schema: []byte(schema)}))
	}
	return b.Build()
}

// invalid is how many events with data that does not fit were taken and refused.
func (k *kit) invalid() [2]int64 {
	c := k.engine.Counts()
	return [2]int64{c.InvalidTaken, c.InvalidRefused}
}

// priced is an event with data.
func priced(id, typ, data string) *sidehook.Event {
	e := event(id, typ)
	e.Data = []byte(data)
	return e
}

var orders = map[string]string{
	"order.paid": `{"required":["customer"],"properties":{"customer":{"required":["email"]}}}`, "order.open": "",
}

func TestStrictAppRefusesDataThatDoesNotFit(t *testing.T) {
	bubble(t, func(k *kit) {
		k.applySnapshot(k.described(sidehook.PublishStrict, orders))
		good, free := priced("e1", "order.paid", `{"customer":{"email":"a"}}`), priced("e2", "order.open", `7`)
		plain := priced("e3", "order.paid", "customer: yes")
		plain.DataContentType = "text/plain"
		for reason, bad := range map[string]*sidehook.Event{
			"/customer/email: is required (schema of order.paid in app demo)":                   priced("e4", "order.paid", `{"customer":{}}`),
			"there is no data (schema of order.paid in app demo)":                               priced("e5", "order.paid", ""),
			`is "text/plain", and the schema is one of JSON (schema of order.paid in app demo)`: plain,
		} {
			_, err := k.engine.Accept(t.Context(), []*sidehook.Event{good, free, bad})
			var field *sidehook.FieldError
			if !errors.As(err, &field) || field.Field != "events[2].data" || field.Reason != reason {
				t.Errorf("got %v, want %s", err, reason)
			}
		}
		k.want("invalid", k.invalid(), [2]int64{0, 9})
		k.want("unknown", k.unknown(), [2]int64{0, 0})
		k.publish(good, free)
		synctest.Wait()
		k.want("requests", len(k.recv.all()), 2)

		// Another schema, and none, hold from the next publish on.
		k.applySnapshot(k.described(sidehook.PublishStrict, map[string]string{"order.paid": "false"}))
		if _, err := k.engine.Accept(t.Context(), []*sidehook.Event{priced("e6", "order.paid", "1")}); err == nil {
			t.Error("the changed schema does not hold")
		}
		k.applySnapshot(k.described(sidehook.PublishStrict, map[string]string{"order.paid": ""}))
		k.publish(priced("e7", "order.paid", "1"))
	})
}

func TestLenientAppCountsDataThatDoesNotFit(t *testing.T) {
	bubble(t, func(k *kit) {
		k.publish(priced("e0", "order.paid", `{}`)) // held
		k.applySnapshot(k.described("", orders))
		synctest.Wait()
		k.want("invalid of the held", k.invalid(), [2]int64{1, 0})
		k.publish(priced("e1", "order.paid", `{"customer":{"email":"a"}}`), priced("e2", "order.paid", `{}`),
			priced("e3", "order.open", `{}`), priced("e4", "order.lost", `{}`))
		synctest.Wait()
		k.want("requests", len(k.recv.all()), 5)
		k.want("invalid", k.invalid(), [2]int64{2, 0})
		k.want("unknown", k.unknown(), [2]int64{1, 0})
	})
}

// TestHeldEventsThatDoNotFit: what was acknowledged is delivered, whatever the schema says.
func TestHeldEventsThatDoNotFit(t *testing.T) {
	bubble(t, func(k *kit) {
		k.publish(priced("e1", "order.paid", `{}`))
		k.applySnapshot(k.described(sidehook.PublishStrict, orders))
		synctest.Wait()
		k.want("requests", len(k.recv.all()), 1)
		k.want("invalid", k.invalid(), [2]int64{1, 0})
	})
}

func TestLenientAppCountsUnknownTypes(t *testing.T) {
	for _, publish := range []sidehook.PublishMode{"", sidehook.PublishLenient} {
		bubble(t, func(k *kit) {
			k.applySnapshot(k.catalogued(publish, "person.created"))
			k.publish(event("e1", "person.created"), event("e2", "person.crated"))
			synctest.Wait()
			k.want("requests", len(k.recv.all()), 2)
			k.want("unknown", k.unknown(), [2]int64{1, 0})
		})
	}
}

func TestStrictAppRefusesUnknownTypes(t *testing.T) {
	bubble(t, func(k *kit) {
		k.applySnapshot(k.catalogued(sidehook.PublishStrict, "person.created", "person.deleted"))
		batch := []*sidehook.Event{
			event("e1", "person.created"), event("e2", "person.deleted"), event("e3", "person.crated"), event("e4", "x"),
		}
		_, err := k.engine.Accept(t.Context(), batch)
		var field *sidehook.FieldError
		if !errors.As(err, &field) || field.Field != "events[2].type" || !strings.Contains(field.Reason, `"person.crated"`) {
			t.Fatalf("got %v", err)
		}
		synctest.Wait()
		k.want("requests after the refusal", len(k.recv.all()), 0)
		k.want("unknown", k.unknown(), [2]int64{0, 4})
		k.want("in memory", k.engine.Counts().InMemory, 0)

		k.publish(batch[0], batch[1]) // nothing of the refused batch counts as published before
		synctest.Wait()
		k.want("requests", len(k.recv.all()), 2)

		// The catalogue grows, and the next publish is taken.
		k.applySnapshot(k.catalogued(sidehook.PublishStrict, "person.created", "person.crated"))
		k.publish(batch[2])
		if _, err := k.engine.Accept(t.Context(), []*sidehook.Event{event("e5", "person.deleted")}); err == nil {
			t.Error("a type that left the catalogue was taken")
		}
		k.applySnapshot(k.catalogued(sidehook.PublishLenient, "person.created"))
		k.publish(batch[3])
		synctest.Wait()
		k.want("requests at the end", len(k.recv.all()), 4)
	})
}

// TestTypesThatNoStarMeans: Twenty sends workflowRun.updated to those who name it, and its format does the same.
func TestTypesThatNoStarMeans(t *testing.T) {
	bubble(t, func(k *kit) {
		var all []*sidehook.Webhook
		for id, events := range map[string][]string{
			"all": {"*.*"}, "object": {"workflowRun.*"}, "named": {"workflowRun.updated"}, "both": {"*.*", "workflowRun.updated"},
		} {
			w := webhook(id)
			w.Format, w.Events, w.URL = sidehook.FormatTwenty, events, "http://"+id+".test/"
			native := webhook("native-" + id)
			native.Events, native.URL = events, "http://native-"+id+".test/"
			all = append(all, w, native)
		}
		k.apply(all...)
		k.publish(event("e1", "workflowRun.updated"), event("e2", "workflowRun.created"))
		synctest.Wait()
		got := map[string]int{}
		for _, s := range k.recv.all() {
			got[s.url]++
		}
		k.want("requests", fmt.Sprint(got), fmt.Sprint(map[string]int{
			"http://all.test/": 1, "http://object.test/": 1, "http://named.test/": 1, "http://both.test/": 2,
			"http://native-all.test/": 2, "http://native-object.test/": 2, "http://native-named.test/": 1, "http://native-both.test/": 2,
		}))
	})
}

// TestStrictWithoutCatalogue: no catalogue is not an empty one.
func TestStrictWithoutCatalogue(t *testing.T) {
	bubble(t, func(k *kit) {
		k.applySnapshot(k.catalogued(sidehook.PublishStrict))
		k.publish(event("e1", "person.created"))
		synctest.Wait()
		k.want("requests", len(k.recv.all()), 1)
		k.want("unknown", k.unknown(), [2]int64{0, 0})
	})
}

// TestHeldEventsOfUnknownType: an event that was acknowledged before there was configuration is delivered.
func TestHeldEventsOfUnknownType(t *testing.T) {
	bubble(t, func(k *kit) {
		k.publish(event("e1", "person.crated"))
		k.applySnapshot(k.catalogued(sidehook.PublishStrict, "person.created"))
		synctest.Wait()
		k.want("requests", len(k.recv.all()), 1)
		k.want("unknown", k.unknown(), [2]int64{1, 0})
	})
}
