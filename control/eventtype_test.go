package control_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/catalogue"
)

const eventTypes = "/v1/apps/demo/event-types"

// types lists the type of each entry of an answer.
func types(a *answer) []string {
	a.t.Helper()
	got := []string{}
	for _, entry := range a.data() {
		got = append(got, entry["type"].(string))
	}
	return got
}

func (a *answer) wantChanges(added, changed, removed, kept float64) {
	a.t.Helper()
	want := map[string]any{"added": added, "changed": changed, "removed": removed, "kept": kept}
	delete(a.body, "$schema")
	if diff := cmp.Diff(want, a.body); diff != "" {
		a.t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestImportEveryCatalogue(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	listed := p.do(p.admin, "GET", "/v1/catalogues", "").want(200).data()
	all := 0
	for i, name := range catalogue.Names() {
		c, _ := catalogue.Lookup(name)
		if listed[i]["name"] != name || listed[i]["event_types"] != float64(len(c.EventTypes)) ||
			len(listed[i]["products"].([]any)) != len(c.Products()) {
			t.Errorf("catalogue %d is %v, want %s", i, listed[i], name)
		}
		whole := p.do(p.admin, "GET", "/v1/catalogues/"+name, "").want(200)
		if n := len(whole.body["event_types"].([]any)); n != len(c.EventTypes) {
			t.Errorf("%s has %d event types, want %d", name, n, len(c.EventTypes))
		}
		p.do(p.admin, "POST", eventTypes+"/import", `{"catalogue":"`+name+`"}`).want(200).
			wantChanges(float64(len(c.EventTypes)), 0, 0, 0)
		all += len(c.EventTypes)
		for _, e := range c.EventTypes { // pushed when the answer comes
			r := p.pub.get("demo", "apps/demo/event-types/"+e.Type)
			if r == nil {
				t.Fatalf("%s is not published", e.Type)
			}
			e.App = "demo"
			if diff := cmp.Diff(&e, r.EventType); diff != "" {
				t.Errorf("published %s (-want +got):\n%s", e.Type, diff)
			}
		}
	}
	if n := len(p.do(p.admin, "GET", eventTypes+"?limit=200", "").want(200).data()); n != all {
		t.Errorf("%d event types, want %d", n, all)
	}
	p.do(p.admin, "GET", "/v1/catalogues/nope", "").wantProblem(404, "", "nope")
	p.do(p.admin, "POST", eventTypes+"/import", `{"catalogue":"nope"}`).
		wantProblem(422, "body.catalogue", "apiserver, multisite, omicall, sigma, twenty")
	p.do(p.admin, "POST", eventTypes+"/import", `{}`).wantProblem(422, "body.catalogue", "is required")
	p.do(p.admin, "POST", "/v1/apps/none/event-types/import", `{"catalogue":"sigma"}`).wantProblem(404, "", "none")
}

func TestImportKeepsEdits(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	p.do(p.admin, "POST", eventTypes+"/import", `{"catalogue":"apiserver"}`).want(200)
	edited := p.do(p.admin, "PUT", eventTypes+"/channel_live", `{"name":{"vi":"Lên sóng"},"sample":{"id":1}}`).want(200)
	p.do(p.admin, "DELETE", eventTypes+"/channel_stop", "").want(204)
	p.do(p.admin, "POST", eventTypes+"/import", `{"catalogue":"apiserver"}`).want(200).wantChanges(1, 0, 0, 2)
	if got := p.do(p.admin, "GET", eventTypes+"/channel_live", "").want(200); got.raw != edited.raw {
		t.Errorf("import made %s of %s", got.raw, edited.raw)
	}
	p.do(p.admin, "POST", eventTypes+"/import", `{"catalogue":"apiserver","overwrite":true}`).want(200).wantChanges(0, 1, 0, 2)
	if got := p.do(p.admin, "GET", eventTypes+"/channel_live", "").want(200); !strings.Contains(got.raw, "Bắt đầu live") {
		t.Errorf("after overwrite: %s", got.raw)
	}
}

func TestEventTypeLifecycle(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	const typ = "media/vod:job.done"
	one := eventTypes + "/" + url.PathEscape(typ)
	p.do(p.admin, "GET", one, "").wantProblem(404, "", typ)
	p.do(p.admin, "DELETE", one, "").wantProblem(404, "", typ)
	const text = `{"type":"media/vod:job.done","product":"VOD","name":{"en":"Done","vi":"Xong"},"description":{"en":"A <b>job</b> ended"},"sample":{"z":1,"a":"<&>","n":9007199254740993},"schema":{"type":"object","properties":{"z":{"const":1}}}}`
	made := p.do(p.admin, "PUT", one, text).want(201)
	got := p.do(p.admin, "GET", one, "").want(200)
	if strings.TrimSpace(got.raw) != text || made.raw != got.raw { // byte by byte: a sample keeps its order and numbers
		t.Errorf("PUT gave %s\nGET gave %s", made.raw, got.raw)
	}
	name := "apps/demo/event-types/" + typ
	if r := p.pub.get("demo", name); r == nil || r.EventType.Product != "VOD" || r.EventType.Name["vi"] != "Xong" {
		t.Fatalf("published %+v", r)
	}
	if r := p.pub.get("demo", name); string(r.EventType.Schema) != `{"type":"object","properties":{"z":{"const":1}}}` {
		t.Errorf("published schema %s", r.EventType.Schema)
	}
	p.do(p.admin, "PUT", one, strings.Replace(text, `"const":1`, `"const":2`, 1)).want(200)
	if r := p.pub.get("demo", name); !strings.Contains(string(r.EventType.Schema), `"const":2`) {
		t.Errorf("another schema alone was no change: %s", r.EventType.Schema)
	}
	p.do(p.admin, "PUT", one, `{"sample":null,"schema":null}`).want(200)
	if got := p.do(p.admin, "GET", one, "").want(200); strings.TrimSpace(got.raw) != `{"type":"`+typ+`"}` {
		t.Errorf("after PUT of nothing: %s", got.raw)
	}
	if r := p.pub.get("demo", name); r.EventType.Product != "" || r.EventType.Sample != nil || r.EventType.Schema != nil {
		t.Errorf("published %+v", r.EventType)
	}
	p.reopen()
	if r := p.pub.get("demo", name); r == nil {
		t.Error("not published after a restart")
	}
	p.do(p.admin, "DELETE", one, "").want(204)
	if r := p.pub.get("demo", name); r != nil {
		t.Errorf("still published: %+v", r)
	}
	if got := types(p.do(p.admin, "GET", eventTypes, "").want(200)); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

func TestListEventTypes(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	for _, name := range []string{"sigma", "apiserver"} {
		p.do(p.admin, "POST", eventTypes+"/import", `{"catalogue":"`+name+`"}`).want(200)
	}
	p.do(p.admin, "PUT", eventTypes+"/no.product", `{}`).want(201)
	want := []string{
		"no.product",
		"dai.ads.transcode.complete", "dai.ads.transcode.failed",
		"channel_ended", "channel_live", "channel_stop",
		"livestream.channel.end", "livestream.channel.live", "livestream.session.created",
		"mediaVOD.job.complete", "mediaVOD.job.created", "mediaVOD.job.encoding",
	}
	var got []string
	for cursor, pages := "", 0; ; pages++ {
		page := p.do(p.admin, "GET", eventTypes+"?limit=5&cursor="+cursor, "").want(200)
		got = append(got, types(page)...)
		if cursor = page.str("next_cursor"); cursor == "" {
			if pages != 2 {
				t.Errorf("%d pages", pages+1)
			}
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("by product and type (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[9:], types(p.do(p.admin, "GET", eventTypes+"?product=Media+VOD", "").want(200))); diff != "" {
		t.Errorf("of Media VOD (-want +got):\n%s", diff)
	}
	if got := types(p.do(p.admin, "GET", eventTypes+"?product=None", "").want(200)); len(got) != 0 {
		t.Errorf("of None: %q", got)
	}
	p.do(p.admin, "GET", eventTypes+"?limit=0", "").wantProblem(422, "query.limit", "1")
	p.do(p.admin, "GET", eventTypes+"?cursor=!", "").wantProblem(422, "query.cursor", "next_cursor")
	p.do(p.admin, "GET", "/v1/apps/none/event-types", "").wantProblem(404, "", "none")
}

// TestCursorOfLongNames: a cursor of the longest product and type there can be is taken back.
func TestCursorOfLongNames(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	product := strings.Repeat("p", sidehook.MaxProductLen)
	for _, end := range []string{"a", "b"} {
		typ := strings.Repeat("t", sidehook.MaxEventTypeLen-1) + end
		p.do(p.admin, "PUT", eventTypes+"/"+typ, `{"product":"`+product+`"}`).want(201)
	}
	first := p.do(p.admin, "GET", eventTypes+"?limit=1", "").want(200)
	second := p.do(p.admin, "GET", eventTypes+"?limit=1&cursor="+first.str("next_cursor"), "").want(200)
	if got := types(second); len(got) != 1 || !strings.HasSuffix(got[0], "b") {
		t.Errorf("second page: %q", got)
	}
}

func TestReplaceEventTypes(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	p.do(p.admin, "POST", eventTypes+"/import", `{"catalogue":"sigma"}`).want(200)
	// What GET gives, PUT takes: nothing changes.
	whole := p.do(p.admin, "GET", eventTypes, "").want(200)
	p.do(p.admin, "PUT", eventTypes, whole.raw).want(200).wantChanges(0, 0, 0, 8)
	// A page of several is not the whole, and refused as such.
	page := p.do(p.admin, "GET", eventTypes+"?limit=2", "").want(200)
	p.do(p.admin, "PUT", eventTypes, page.raw).wantProblem(422, "body.next_cursor", "not a known field")

	p.do(p.admin, "PUT", eventTypes, `{"data":[{"type":"a"},{"type":"livestream.channel.end","product":"P"}]}`).
		want(200).wantChanges(1, 1, 7, 0)
	if diff := cmp.Diff([]string{"a", "livestream.channel.end"}, types(p.do(p.admin, "GET", eventTypes, ""))); diff != "" {
		t.Errorf("replaced (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"apps/demo/event-types/a", "apps/demo/event-types/livestream.channel.end"},
		p.pub.names("demo", "/event-types/")); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	p.do(p.admin, "PUT", eventTypes, `{"data":[]}`).want(200).wantChanges(0, 0, 2, 0)
	if names := p.pub.names("demo", "/event-types/"); len(names) != 0 {
		t.Errorf("still published: %q", names)
	}
}

func TestBadEventTypes(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	long := strings.Repeat("x", 101)
	for _, c := range []struct{ path, body, location, words string }{
		{"/a%20b", `{}`, "path.type", "A-Z"},
		{"/a*", `{}`, "path.type", "A-Z"},
		{"/" + strings.Repeat("a", 257), `{}`, "path.type", "256"},
		{"/%2E%2E", `{}`, "path.type", "must not be"},
		{"/a", `{"type":"b"}`, "path.type", `the one in the path, \"a\"`},
		{"/a", `{"product":7}`, "body.product", "must be a string"},
		{"/a", `{"product":"` + long + `"}`, "body.product", "64"},
		{"/a", `{"name":"x"}`, "body.name", "must be an object"},
		{"/a", `{"name":{"en":7}}`, "body.name.en", "must be a string"},
		{"/a", `{"name":{"en":"` + long + `"}}`, "body.name.en", "100 characters"},
		{"/a", `{"name":{"english":"x"}}`, "body.name", "not a language"},
		{"/a", `{"description":{"vi":"a\nb"}}`, "body.description.vi", "control"},
		{"/a", `{"sample":"` + strings.Repeat("s", 64<<10) + `"}`, "body.sample", "65536"},
		{"/a", `{"schema":"` + strings.Repeat("s", 64<<10) + `"}`, "body.schema", "65536"},
		{"/a", `{"schema":7}`, "body.schema", "must be a JSON object"},
		{"/a", `{"schema":{"properties":{"id":{"type":"text"}}}}`, "body.schema", "/properties/id/type: must be object, array, string"},
		{"/a", `{"schema":{"$ref":"https://example.com/order.json"}}`, "body.schema", "only references within the schema"},
		{"/a", `{"schema":{"allOf":[{"$ref":"#"}]}}`, "body.schema", "refers back to itself"},
		{"", `{"data":[{"type":"a"},{"type":"b","schema":{"pattern":"("}}]}`, "body.data[1].schema", "/pattern: is not a pattern"},
		{"/a", `{"samples":1}`, "body.samples", "not a known field"},
		{"", `{}`, "body.data", "is required"},
		{"", `{"data":{}}`, "body.data", "must be an array"},
		{"", `{"data":[{"type":"a"},{}]}`, "body.data[1].type", "is required"},
		{"", `{"data":[{"type":"a"},{"type":"a b"}]}`, "body.data[1].type", "A-Z"},
		{"", `{"data":[{"type":"a"},{"type":"b"},{"type":"a"}]}`, "body.data[2].type", "twice"},
		{"", `{"data":[{"type":"a","name":{"en":"\u001b[2J"}}]}`, "body.data[0].name.en", "control"},
		{"", `{"data":[{"type":"a","app":"other"}]}`, "body.data[0].app", "not a known field"},
	} {
		p.do(p.admin, "PUT", eventTypes+c.path, c.body).wantProblem(422, c.location, c.words)
	}
	p.do(p.admin, "PUT", eventTypes+"/a", `{"sample":{`).want(400)
	p.do(p.admin, "PUT", "/v1/apps/none/event-types/a", `{}`).wantProblem(404, "", "none")
	p.do(p.admin, "PUT", eventTypes, `{"data":[{"type":"a","sample":"`+strings.Repeat("s", 256<<10)+`"}]}`).want(413)
	if got := types(p.do(p.admin, "GET", eventTypes, "").want(200)); len(got) != 0 {
		t.Errorf("half-saved: %q", got)
	}
}

// many is n entries with a prefix.
func many(prefix string, n int) []sidehook.EventType {
	all := make([]sidehook.EventType, n)
	for i := range all {
		all[i].Type = fmt.Sprintf("%s%03d", prefix, i)
	}
	return all
}

func TestMostEventTypes(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	ctx := t.Context()
	_, err := p.svc.ReplaceEventTypes(ctx, "demo", many("a", control.MaxEventTypes+1))
	var conflict *control.ConflictError
	if !errors.As(err, &conflict) || !strings.Contains(err.Error(), "451") {
		t.Errorf("one too many: %v", err)
	}
	if _, err := p.svc.ReplaceEventTypes(ctx, "demo", many("a", control.MaxEventTypes)); err != nil {
		t.Fatal(err)
	}
	// All by as many others, in one step.
	changes, err := p.svc.ReplaceEventTypes(ctx, "demo", many("b", control.MaxEventTypes))
	if want := (control.EventTypeChanges{Added: control.MaxEventTypes, Removed: control.MaxEventTypes}); err != nil ||
		changes != want {
		t.Fatalf("%+v, %v", changes, err)
	}
	p.do(p.admin, "PUT", eventTypes+"/c", `{}`).wantProblem(409, "", "450")
	p.do(p.admin, "POST", eventTypes+"/import", `{"catalogue":"omicall"}`).wantProblem(409, "", "450")
	p.do(p.admin, "PUT", eventTypes+"/b000", `{"product":"x"}`).want(200)
	// What is there goes with its app.
	p.do(p.admin, "DELETE", "/v1/apps/demo", "").want(204)
	p.makeApp("demo")
	if got := types(p.do(p.admin, "GET", eventTypes, "").want(200)); len(got) != 0 {
		t.Errorf("of the app before: %d", len(got))
	}
	if names := p.pub.names("demo", "/event-types/"); len(names) != 0 {
		t.Errorf("still published: %d", len(names))
	}
	if _, err := p.svc.ReplaceEventTypes(ctx, "demo", many("a", control.MaxEventTypes)); err != nil {
		t.Errorf("the count of the app before was left behind: %v", err)
	}
}

func TestReplaceTooLargeForOneStep(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	all := many("a", 20)
	for i := range all {
		all[i].Sample = []byte(`"` + strings.Repeat("s", 60<<10) + `"`)
	}
	_, err := p.svc.ReplaceEventTypes(t.Context(), "demo", all)
	var field *sidehook.FieldError
	if !errors.As(err, &field) || field.Field != "data" || !strings.Contains(field.Reason, "one by one") {
		t.Errorf("%v", err)
	}
	for _, e := range all {
		e.App = "demo"
		if _, _, err := p.svc.PutEventType(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEventTypesConcurrently: the limit holds, and no addition is lost to another change.
func TestEventTypesConcurrently(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	const room, putters = 5, 50
	if _, err := p.svc.ReplaceEventTypes(t.Context(), "demo", many("a", control.MaxEventTypes-room)); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var added, refused atomic.Int32
	for i := range putters {
		group.Go(func() {
			switch a := p.do(p.admin, "PUT", fmt.Sprintf("%s/new%d", eventTypes, i), `{}`); a.code {
			case 201:
				added.Add(1)
			case 409:
				refused.Add(1)
			default:
				t.Errorf("answered %d: %s", a.code, a.raw)
			}
		})
	}
	group.Wait()
	if added.Load() != room || refused.Load() != putters-room {
		t.Errorf("%d added, %d refused", added.Load(), refused.Load())
	}

	// Additions and replacements at once: whatever the order, the count is right at the end.
	for i := range 10 {
		group.Go(func() { p.do(p.admin, "PUT", fmt.Sprintf("%s/more%d", eventTypes, i), `{}`) })
		group.Go(func() { p.do(p.admin, "PUT", eventTypes, fmt.Sprintf(`{"data":[{"type":"x"},{"type":"r%d"}]}`, i)) })
	}
	group.Wait()
	left := len(p.do(p.admin, "GET", eventTypes+"?limit=200", "").want(200).data())
	if left < 2 || left > 12 {
		t.Errorf("%d left", left)
	}
	for i := range control.MaxEventTypes - left {
		e := sidehook.EventType{App: "demo", Type: fmt.Sprintf("fill%d", i)}
		if _, created, err := p.svc.PutEventType(t.Context(), e); err != nil || !created {
			t.Fatalf("filling up after %d: created %v, %v", left+i, created, err)
		}
	}
	p.do(p.admin, "PUT", eventTypes+"/over", `{}`).wantProblem(409, "", "450")
}

func TestStrictPublish(t *testing.T) {
	p := newPlane(t)
	if a := p.do(p.admin, "PUT", "/v1/apps/demo", "").want(201); a.str("publish") != "lenient" {
		t.Errorf("default: %s", a.raw)
	}
	p.do(p.admin, "PUT", "/v1/apps/demo", `{"publish":"loose"}`).wantProblem(422, "body.publish", "lenient or strict")
	p.do(p.admin, "PUT", "/v1/apps/demo", `{"publish":"strict"}`).wantProblem(409, "body.publish", "no event types")
	p.do(p.admin, "PUT", "/v1/apps/new", `{"publish":"strict"}`).wantProblem(409, "body.publish", "no event types")
	p.do(p.admin, "PUT", eventTypes+"/a", `{}`).want(201)
	p.do(p.admin, "PUT", "/v1/apps/demo", `{"publish":"strict"}`).want(200)
	if r := p.pub.get("demo", "apps/demo/policy"); r.AppPolicy.Publish != sidehook.PublishStrict {
		t.Errorf("published %+v", r.AppPolicy)
	}
	p.do(p.admin, "DELETE", eventTypes+"/a", "").wantProblem(409, "", "lenient first")
	p.do(p.admin, "PUT", eventTypes, `{"data":[]}`).wantProblem(409, "", "lenient first")
	p.do(p.admin, "PUT", eventTypes, `{"data":[{"type":"b"}]}`).want(200)
	p.do(p.admin, "PUT", "/v1/apps/demo", `{"publish":"lenient"}`).want(200)
	p.do(p.admin, "DELETE", eventTypes+"/b", "").want(204)
	if r := p.pub.get("demo", "apps/demo/policy"); r.AppPolicy.Publish != sidehook.PublishLenient {
		t.Errorf("published %+v", r.AppPolicy)
	}
}

// TestStrictAgainstLastRemoval: making an app strict and taking its last event type away exclude each other.
func TestStrictAgainstLastRemoval(t *testing.T) {
	p := newPlane(t)
	for i := range 20 {
		app := fmt.Sprintf("app%d", i)
		p.makeApp(app)
		p.do(p.admin, "PUT", "/v1/apps/"+app+"/event-types/a", `{}`).want(201)
		var group sync.WaitGroup
		var strict, removed *answer
		group.Go(func() { strict = p.do(p.admin, "PUT", "/v1/apps/"+app, `{"publish":"strict"}`) })
		group.Go(func() { removed = p.do(p.admin, "DELETE", "/v1/apps/"+app+"/event-types/a", "") })
		group.Wait()
		if codes := []int{strict.code, removed.code}; !slices.Equal(codes, []int{200, 409}) &&
			!slices.Equal(codes, []int{409, 204}) {
			t.Fatalf("strict answered %d, removal %d", strict.code, removed.code)
		}
	}
}

func TestEventTypesOfWhom(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	p.makeApp("other")
	mine, _ := p.makeToken("app", "demo")
	sidecar, _ := p.makeToken("sidecar", "demo")
	p.do(mine, "POST", eventTypes+"/import", `{"catalogue":"omicall"}`).want(200)
	p.do(mine, "GET", "/v1/catalogues", "").want(200)
	p.do(mine, "GET", "/v1/catalogues/sigma", "").want(200)
	for _, path := range []string{"/v1/apps/other/event-types", "/v1/apps/none/event-types"} {
		p.do(mine, "GET", path, "").want(404)
		p.do(mine, "PUT", path, `{"data":[]}`).want(404)
		p.do(mine, "POST", path+"/import", `{"catalogue":"sigma"}`).want(404)
		p.do(mine, "PUT", path+"/a", `{}`).want(404)
		p.do(mine, "GET", path+"/a", "").want(404)
		p.do(mine, "DELETE", path+"/a", "").want(404)
	}
	p.do(sidecar, "GET", eventTypes, "").want(403)
	p.do(sidecar, "GET", "/v1/catalogues", "").want(403)
	p.do("", "GET", "/v1/catalogues", "").want(401)
	if got := types(p.do(p.admin, "GET", "/v1/apps/other/event-types", "").want(200)); len(got) != 0 {
		t.Errorf("other app got %q", got)
	}
}
