package catalogue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds/schema"
)

// documented are the events of each product's documents, in their order, with their product.
var documented = map[string][]string{
	"sigma": {
		"Livestream livestream.session.created", "Livestream livestream.channel.live", "Livestream livestream.channel.end",
		"DAI dai.ads.transcode.complete", "DAI dai.ads.transcode.failed",
		"Media VOD mediaVOD.job.created", "Media VOD mediaVOD.job.encoding", "Media VOD mediaVOD.job.complete",
	},
	"multisite": prefixed("Ultimate Multisite", `payment_received site_published confirm_email_address domain_created
		renewal_payment_created customer_created customer_updated membership_created membership_updated payment_created
		payment_updated invoice_sent payment_failed membership_expired`),
	"apiserver": prefixed("Live Channel", "channel_live channel_stop channel_ended"),
	"twenty": prefixed("Twenty", `person.created person.updated person.deleted company.created company.updated
		company.deleted note.created note.updated note.deleted task.created task.updated task.deleted opportunity.created
		opportunity.updated opportunity.deleted`),
	"omicall": prefixed("OMICall", "call call_event"),
}

func prefixed(product, types string) []string {
	all := strings.Fields(types)
	for i, t := range all {
		all[i] = product + " " + t
	}
	return all
}

func TestDocumentedEvents(t *testing.T) {
	if diff := cmp.Diff(slices.Sorted(maps.Keys(documented)), Names()); diff != "" {
		t.Fatalf("names (-want +got):\n%s", diff)
	}
	for name, want := range documented {
		c, ok := Lookup(name)
		if !ok || c.Name != name {
			t.Fatalf("%s: found %v, named %q", name, ok, c.Name)
		}
		var got []string
		for _, e := range c.EventTypes {
			got = append(got, e.Product+" "+e.Type)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, ok := Lookup("nope"); ok {
		t.Error("there is a catalogue nope")
	}
	sigma, _ := Lookup("sigma")
	if diff := cmp.Diff([]string{"Livestream", "DAI", "Media VOD"}, sigma.Products()); diff != "" {
		t.Errorf("products of sigma (-want +got):\n%s", diff)
	}
}

// TestEntries: each entry is one that an app may have, whole in both languages.
func TestEntries(t *testing.T) {
	for _, name := range Names() {
		c, _ := Lookup(name)
		languages(t, name+" title", c.Title)
		seen := make(map[string]bool)
		for _, e := range c.EventTypes {
			at := name + " " + e.Type
			if seen[e.Type] {
				t.Errorf("%s is there twice", at)
			}
			seen[e.Type] = true
			if e.App != "" || e.Product == "" {
				t.Errorf("%s: app %q, product %q", at, e.App, e.Product)
			}
			languages(t, at+" name", e.Name)
			languages(t, at+" description", e.Description)
			e.App = "demo"
			if err := e.Validate(); err != nil {
				t.Errorf("%s: %v", at, err)
			}
			if len(members(t, at, e.Sample)) < 3 {
				t.Errorf("%s: sample %s says next to nothing", at, e.Sample)
			}
		}
	}
}

func languages(t *testing.T, what string, texts map[string]string) {
	t.Helper()
	if diff := cmp.Diff([]string{"en", "vi"}, slices.Sorted(maps.Keys(texts))); diff != "" {
		t.Errorf("%s: languages (-want +got):\n%s", what, diff)
	}
	for language, text := range texts {
		if strings.TrimSpace(text) != text || text == "" {
			t.Errorf("%s.%s is %q", what, language, text)
		}
		if language == "en" && strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxLatin1 }) {
			t.Errorf("%s.en %q does not look English", what, text)
		}
	}
}

// members reads a JSON object and fails when a member is there twice, which Unmarshal would hide.
func members(t *testing.T, what string, sample []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(sample))
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		t.Fatalf("%s: sample is no object: %v %v", what, tok, err)
	}
	got := make(map[string]any)
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var value any
		if err := d.Decode(&value); err != nil {
			t.Fatalf("%s: %v: %v", what, key, err)
		}
		if _, twice := got[key.(string)]; twice {
			t.Errorf("%s: sample has %s twice", what, key)
		}
		got[key.(string)] = value
	}
	if _, err := d.Token(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Errorf("%s: more follows the sample: %v", what, err)
	}
	return got
}

func sampleOf(t *testing.T, name, typ string) map[string]any {
	t.Helper()
	c, _ := Lookup(name)
	for _, e := range c.EventTypes {
		if e.Type == typ {
			return members(t, name+" "+typ, e.Sample)
		}
	}
	t.Fatalf("%s has no %s", name, typ)
	return nil
}

// groupFields are the fields of Ultimate Multisite's payloads, by group.
var groupFields = map[string]string{
	"payment": `id status reference_code subtotal subtotal_raw tax_total tax_total_raw total total_raw currency product_names
		date_created gateway invoice_url manage_url`,
	"membership": `id status reference_code initial_amount initial_amount_raw amount amount_raw currency description gateway
		date_expiration manage_url`,
	"customer": `id name user_id user_email email_verification avatar billing_address manage_url`,
	"site":     `id title description url admin_url manage_url`,
	"domain":   `id domain site_id stage active primary secure date_created manage_url`,
	"billing": `company_name billing_email billing_address_line_1 billing_address_line_2 billing_country billing_state
		billing_city billing_zip_code`,
}

// TestMultisiteFields: each payload is flat and has exactly the fields of its groups.
func TestMultisiteFields(t *testing.T) {
	for typ, groups := range map[string]string{
		"payment_received":        "payment membership customer",
		"site_published":          "site customer membership",
		"confirm_email_address":   "customer +verification_link",
		"domain_created":          "domain site membership customer",
		"renewal_payment_created": "payment membership customer +default_payment_url",
		"customer_created":        "customer billing",
		"customer_updated":        "customer billing",
		"membership_created":      "membership customer billing",
		"membership_updated":      "membership customer billing",
		"payment_created":         "payment membership customer billing",
		"payment_updated":         "payment membership customer billing",
		"invoice_sent":            "payment customer +payment_url +invoice_message",
		"payment_failed":          "membership customer +payment_gateway",
		"membership_expired":      "membership customer",
	} {
		want := []string{"wu_version"}
		for _, group := range strings.Fields(groups) {
			if own, ok := strings.CutPrefix(group, "+"); ok {
				want = append(want, own)
				continue
			}
			for _, field := range strings.Fields(groupFields[group]) {
				if group != "billing" {
					field = group + "_" + field
				}
				want = append(want, field)
			}
		}
		slices.Sort(want)
		got := sampleOf(t, "multisite", typ)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("fields of %s (-want +got):\n%s", typ, diff)
		}
		for field, value := range got {
			switch value.(type) {
			case string, float64:
			default:
				t.Errorf("%s.%s is %v: not flat", typ, field, value)
			}
		}
	}
	domain := sampleOf(t, "multisite", "domain_created")
	for field, want := range map[string]any{
		"customer_name": "John McMocked", "customer_user_email": "mockeduser@dev.dev", "site_title": "Example Site",
		"domain_domain": "example.com", "domain_stage": "checking-dns",
		"domain_active": "true", "domain_primary": "true", "domain_secure": "false", // text, not booleans
	} {
		if domain[field] != want {
			t.Errorf("%s is %v, want %v", field, domain[field], want)
		}
	}
}

// TestSamples: what the documents say of single payloads.
func TestSamples(t *testing.T) {
	for _, tc := range []struct {
		catalogue, typ string
		want           map[string]any // nil: the field is absent
	}{
		{"sigma", "mediaVOD.job.created", map[string]any{"state": "queued"}},
		{"sigma", "mediaVOD.job.encoding", map[string]any{"state": "encoding"}},
		{"sigma", "mediaVOD.job.complete", map[string]any{"state": "complete"}},
		{"apiserver", "channel_live", map[string]any{
			"id": "5201198", "status": "live", "videoUrl": nil, "event": nil, "eventTime": nil,
			"livestreamUrl": "https://cdn.example.com/livestream/5201198/master.m3u8",
		}},
		{"apiserver", "channel_ended", map[string]any{
			"status": "ended", "livestreamUrl": nil, "videoUrl": "https://cdn.example.com/livestream/5201198/master_dvr.m3u8",
		}},
		{"twenty", "person.created", map[string]any{
			"id": "abc12345", "firstName": "Alice", "lastName": "Doe", "email": "alice@example.com",
			"createdAt": "2025-02-10T15:30:45Z", "createdBy": "user_123",
		}},
		{"twenty", "company.deleted", map[string]any{"deletedAt": "2025-02-12T16:20:00Z"}},
		{"omicall", "call", map[string]any{"state": "cdr", "direction": "outbound"}},
		{"omicall", "call_event", map[string]any{"state": "ringing", "date_time": 1589015422000.0}},
	} {
		got := sampleOf(t, tc.catalogue, tc.typ)
		for field, want := range tc.want {
			if fmt.Sprint(got[field]) != fmt.Sprint(want) {
				t.Errorf("%s %s: %s is %v, want %v", tc.catalogue, tc.typ, field, got[field], want)
			}
		}
	}
	for _, field := range strings.Fields(`id name description accountId tags mode status health duration createdAt startTime
		stopTime thumbnailUrl`) {
		if _, ok := sampleOf(t, "apiserver", "channel_stop")[field]; !ok {
			t.Errorf("channel_stop has no %s", field)
		}
	}
	for _, field := range strings.Fields(`transaction_id tenant_id direction source_number destination_number from_number
		to_number phone_number hotline sip_number sip_user answer_sec bill_sec duration record_seconds recording_file_url
		call_out_price provider time_start_call time_start_to_answer time_end_call created_date last_updated_date endby_name
		is_auto_call is_have_forward_out ivr note tag user customer create_by transfer_histories domain_fusion
		send_num_retry`) {
		if _, ok := sampleOf(t, "omicall", "call")[field]; !ok {
			t.Errorf("call has no %s", field)
		}
	}
}

// TestVietnamese: the documents' own words are kept.
func TestVietnamese(t *testing.T) {
	want := map[string]string{
		"livestream.session.created": "Event khi session được tạo ra",
		"livestream.channel.live":    "Event khi kênh bắt đầu live",
		"livestream.channel.end":     "Event khi kênh kết thúc",
		"dai.ads.transcode.complete": "Event khi có ads được transcode thành công",
		"dai.ads.transcode.failed":   "Event khi có ads transcode thất bại",
		"mediaVOD.job.created":       "Event khi có job bắt đầu transcode, process created và queued",
		"mediaVOD.job.encoding":      "Event khi có job đang encoding",
		"mediaVOD.job.complete":      "Event khi có job hoàn thành transcode, trả về kết quả với process complete và error",
	}
	got := make(map[string]string)
	sigma, _ := Lookup("sigma")
	for _, e := range sigma.EventTypes {
		got[e.Type] = sidehook.InLanguage(e.Description, "vi")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("descriptions (-want +got):\n%s", diff)
	}
}

// TestSchemas: each event type has a schema that its own sample fits, and that says something.
func TestSchemas(t *testing.T) {
	for _, name := range Names() {
		c, _ := Lookup(name)
		for _, e := range c.EventTypes {
			s, err := schema.Compile(e.Schema)
			if err != nil {
				t.Errorf("%s %s: %v in %s", name, e.Type, err, e.Schema)
				continue
			}
			if err := s.Check(e.Sample); err != nil {
				t.Errorf("%s %s: its own sample does not fit: %v", name, e.Type, err)
			}
			if s.Check([]byte(`{}`)) == nil {
				t.Errorf("%s %s: anything fits", name, e.Type)
			}
			held := members(t, name+" "+e.Type, e.Schema)["properties"].(map[string]any)
			for field := range members(t, name+" "+e.Type, e.Sample) {
				if name == "multisite" && held[field] == nil {
					t.Errorf("%s %s: %s is not in its schema", name, e.Type, field)
				}
			}
		}
	}
}

// TestSchemasHold: what the documents say of fields is what is refused otherwise.
func TestSchemasHold(t *testing.T) {
	for _, tc := range []struct{ catalogue, typ, field, value, want string }{
		{"sigma", "mediaVOD.job.complete", "state", `"queued"`, "/state: is not among"},
		{"sigma", "mediaVOD.job.complete", "state", `"error"`, ""},
		{"sigma", "mediaVOD.job.created", "state", `"created"`, ""},
		{"sigma", "mediaVOD.job.encoding", "progress", `101`, "/progress: maximum"},
		{"apiserver", "channel_live", "mode", `"fast"`, "/mode: is not among"},
		{"apiserver", "channel_live", "tags", `"a,b"`, "/tags: must be array"},
		{"apiserver", "channel_ended", "stopTime", `1555582512604`, "/stopTime: must be null or string"},
		{"omicall", "call", "time_start_call", `"1589015422"`, "/time_start_call: must be"},
		{"omicall", "call", "direction", `"internal"`, "/direction: is not among"},
		{"omicall", "call_event", "state", `"cdr"`, "/state: is not among"},
		{"twenty", "person.created", "id", `7`, "/id: must be string"},
		{"twenty", "person.created", "custom", `{"a":1}`, ""},
		{"multisite", "domain_created", "domain_active", `true`, "/domain_active: is not among"},
		{"multisite", "payment_received", "payment_total", `{}`, "/payment_total: must be"},
	} {
		c, _ := Lookup(tc.catalogue)
		i := slices.IndexFunc(c.EventTypes, func(e sidehook.EventType) bool { return e.Type == tc.typ })
		s, err := schema.Compile(c.EventTypes[i].Schema)
		if err != nil {
			t.Fatal(err)
		}
		sample := sampleOf(t, tc.catalogue, tc.typ)
		sample[tc.field] = json.RawMessage(tc.value)
		data, err := json.Marshal(sample)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Check(data)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want)) {
			t.Errorf("%s with %s %s: %v, want %q", tc.typ, tc.field, tc.value, err, tc.want)
		}
	}
}

func TestBadFiles(t *testing.T) {
	const head = "title: {vi: x, en: x}\nevent_types:\n  - type: a\n"
	for text, want := range map[string]string{
		"titel: {}\n":                                             "unknown field",
		head + "    with: [b]\n":                                  `event_types[0] a: there is no group "b"`,
		head + "    with: [b]\ngroups: {b: '['}\n":                "group b is not JSON",
		head + "    with: [b]\ngroups: {b: '[]'}\n":               "group b is not a JSON object",
		head + "    sample: '{\"a\":1'\n":                         "sample is not JSON",
		head + "    sample: '{} {}'\n":                            "sample is not JSON",
		head + "    sample: '\"x\"'\n":                            "sample is not a JSON object",
		head + "    sample: '{\"a\":1}'\n  - type: ":              "",
		head + "    schema: [b]\n":                                `there is no part "b"`,
		head + "    schema: [b]\nschemas: {b: '{\"items\":1}'}\n": "part b of a schema",
		head + "    schema: [b]\nschemas: {b: '{}'}\n":            "properties of part b is not JSON",
	} {
		_, err := parse("x", []byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	c, err := parse("x", []byte(head+"    with: [b, c]\n    sample: '{\"d\" : [ 1 ]}'\ngroups: {b: '{ \"a\": 1 }', c: '{}'}\n"))
	if err != nil || string(c.EventTypes[0].Sample) != `{"a":1,"d":[1]}` {
		t.Errorf("%+v, %v", c, err)
	}
}
