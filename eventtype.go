package sidehook

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// EventType is an entry of an app's catalogue: what people choose from when they say which events a webhook gets.
type EventType struct {
	App     string
	Type    string // as in Event.Type
	Product string // for grouping; may be empty
	// Name is what people call it, by language ("vi", "en").
	Name map[string]string
	// Description says what it means, by language.
	Description map[string]string
	// Sample is a realistic payload (JSON); empty for none.
	Sample []byte
	// Schema is the JSON Schema (draft 2020-12 unless it names another) that data of such events fits; empty for none.
	Schema []byte
}

// PublishMode is what becomes of an event whose type is not in its app's catalogue, or whose data does not fit the
// schema of its type.
type PublishMode string

// The modes.
const (
	PublishLenient PublishMode = "lenient" // it is taken, and counted
	PublishStrict  PublishMode = "strict"  // it is refused, once the app has a catalogue
)

// Limits of an EventType, in bytes unless they say otherwise.
const (
	MaxProductLen     = 64
	MaxTypeNameLen    = 100 // characters of a Name
	MaxDescriptionLen = 2000
	MaxLanguages      = 10
	MaxSampleLen      = 64 << 10
	MaxTypeSchemaLen  = 64 << 10
)

// Validate returns a *FieldError for the first field that is wrong. Whether Schema is a JSON Schema is not its business:
// see package xds/schema.
func (t *EventType) Validate() error {
	switch {
	case !ValidName(t.App):
		return Fieldf("app", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxNameLen)
	case !ValidEventType(t.Type):
		return Fieldf("type", "must be 1 to %d of A-Z a-z 0-9 _ . : / -, as in the events", MaxEventTypeLen)
	case len(t.Product) > MaxProductLen:
		return Fieldf("product", "must be at most %d bytes", MaxProductLen)
	case !isText(t.Product):
		return Fieldf("product", "must be UTF-8 without control characters")
	case len(t.Sample) > MaxSampleLen:
		return Fieldf("sample", "must be at most %d bytes", MaxSampleLen)
	case len(t.Sample) > 0 && !(json.Valid(t.Sample) && utf8.Valid(t.Sample)): // Valid lets other bytes pass in strings
		return Fieldf("sample", "is not valid JSON")
	case len(t.Schema) > MaxTypeSchemaLen:
		return Fieldf("schema", "must be at most %d bytes", MaxTypeSchemaLen)
	case len(t.Schema) > 0 && !(json.Valid(t.Schema) && utf8.Valid(t.Schema)):
		return Fieldf("schema", "is not valid JSON")
	}
	if err := validTexts("name", t.Name, func(s string) error {
		if utf8.RuneCountInString(s) > MaxTypeNameLen {
			return Fieldf("", "must be at most %d characters", MaxTypeNameLen)
		}
		return nil
	}); err != nil {
		return err
	}
	return validTexts("description", t.Description, func(s string) error {
		if len(s) > MaxDescriptionLen {
			return Fieldf("", "must be at most %d bytes", MaxDescriptionLen)
		}
		return nil
	})
}

// validTexts checks a text by language; check looks at one text.
func validTexts(field string, texts map[string]string, check func(string) error) error {
	if len(texts) > MaxLanguages {
		return Fieldf(field, "must be in at most %d languages", MaxLanguages)
	}
	for _, language := range slices.Sorted(maps.Keys(texts)) {
		if !ValidLanguage(language) {
			return Fieldf(field, "%.20q is not a language such as vi or en", language)
		}
		text := texts[language]
		if !isText(text) {
			return Fieldf(field+"."+language, "must be UTF-8 without control characters")
		}
		if err := check(text); err != nil {
			return Under(field+"."+language, err)
		}
	}
	return nil
}

// ValidLanguage reports whether s has the form of a language tag (BCP 47): "vi", "en", "zh-Hant".
func ValidLanguage(s string) bool {
	if len(s) > 35 {
		return false
	}
	for i, part := range strings.Split(s, "-") {
		if len(part) == 0 || len(part) > 8 || i == 0 && (len(part) < 2 || len(part) > 3) {
			return false
		}
		for j := range len(part) {
			if c := part[j]; !isAlnum(c) || i == 0 && (c < 'a' || c > 'z') {
				return false
			}
		}
	}
	return true
}

// InLanguage returns the text of a language, else the English one, else that of the first language there is, else the
// empty one. A tag such as "vi-VN" finds "vi".
func InLanguage(texts map[string]string, language string) string {
	short, _, _ := strings.Cut(language, "-")
	for _, l := range []string{language, short, "en"} {
		if text, ok := texts[l]; ok {
			return text
		}
	}
	if len(texts) > 0 {
		return texts[slices.Min(slices.Collect(maps.Keys(texts)))]
	}
	return ""
}
