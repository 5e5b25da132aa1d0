package sidehook

import (
	"errors"
	"strings"
	"testing"
)

func TestEventTypeValidate(t *testing.T) {
	good := func() *EventType {
		return &EventType{
			App: "demo", Type: "livestream.channel.live", Product: "Livestream",
			Name:        map[string]string{"vi": "Kênh bắt đầu live", "en": "Channel live", "zh-Hant": "頻道"},
			Description: map[string]string{"en": strings.Repeat("d", MaxDescriptionLen)},
			Sample:      []byte(`{"id":1}`),
		}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	languages := map[string]string{}
	for _, l := range strings.Fields("aa bb cc dd ee ff gg hh ii jj kk") {
		languages[l] = "x"
	}
	for _, tc := range []struct {
		field  string
		damage func(*EventType)
	}{
		{"app", func(e *EventType) { e.App = "a b" }},
		{"type", func(e *EventType) { e.Type = "" }},
		{"type", func(e *EventType) { e.Type = "a*" }},
		{"product", func(e *EventType) { e.Product = strings.Repeat("p", MaxProductLen+1) }},
		{"product", func(e *EventType) { e.Product = "a\nb" }},
		{"name", func(e *EventType) { e.Name = map[string]string{"english": "x"} }},
		{"name", func(e *EventType) { e.Name = languages }},
		{"name.en", func(e *EventType) { e.Name["en"] = strings.Repeat("ữ", MaxTypeNameLen+1) }},
		{"name.en", func(e *EventType) { e.Name["en"] = "\x1b[2J" }},
		{"description.vi", func(e *EventType) { e.Description["vi"] = "\xff" }},
		{"description.en", func(e *EventType) { e.Description["en"] += "d" }},
		{"description", func(e *EventType) { e.Description[""] = "d" }},
		{"sample", func(e *EventType) { e.Sample = []byte(`{`) }},
		{"sample", func(e *EventType) { e.Sample = []byte("\"\xff\"") }},
		{"sample", func(e *EventType) { e.Sample = []byte(`"` + strings.Repeat("s", MaxSampleLen) + `"`) }},
	} {
		e := good()
		tc.damage(e)
		var field *FieldError
		if err := e.Validate(); !errors.As(err, &field) || field.Field != tc.field {
			t.Errorf("%+v: %v, want a problem with %s", e, err, tc.field)
		}
	}
	e := good()
	e.Name["en"] = strings.Repeat("ữ", MaxTypeNameLen) // characters, not bytes
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidLanguage(t *testing.T) {
	for s, want := range map[string]bool{
		"vi": true, "en": true, "vi-VN": true, "zh-Hant-TW": true, "gsw": true, "": false, "v": false, "VI": false,
		"viet": false, "vi_VN": false, "vi-": false, "-vi": false, "vi-123456789": false, "v1": false, "vi-é": false,
		"en-" + strings.Repeat("a-", 20) + "a": false,
	} {
		if ValidLanguage(s) != want {
			t.Errorf("ValidLanguage(%q) is %v", s, !want)
		}
	}
}

func TestInLanguage(t *testing.T) {
	both := map[string]string{"vi": "Kênh", "en": "Channel"}
	for _, tc := range []struct {
		texts    map[string]string
		language string
		want     string
	}{
		{both, "vi", "Kênh"},
		{both, "vi-VN", "Kênh"},
		{both, "de", "Channel"},
		{both, "", "Channel"},
		{map[string]string{"vi": "Kênh", "de": "Kanal"}, "en", "Kanal"},
		{nil, "vi", ""},
	} {
		if got := InLanguage(tc.texts, tc.language); got != tc.want {
			t.Errorf("InLanguage(%v, %q) is %q, want %q", tc.texts, tc.language, got, tc.want)
		}
	}
}
