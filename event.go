package sidehook

import (
	"fmt"
	"mime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sidehook/sidehook/internal/jsonvalid"
)

// Event is something that happened: the CloudEvents 1.0 attributes plus the app it belongs to and an optional
// ordering key. Once accepted it is not changed: many deliveries share one Event.
type Event struct {
	App    string // tenant that owns it
	ID     string // unique within App; becomes webhook-id
	Source string // CloudEvents source, a URI-reference
	Type   string // for example "livestream.channel.live"
	// Subject is CloudEvents subject; optional.
	Subject string
	// Time is when it happened; never zero once accepted.
	Time time.Time
	// DataContentType is the media type of Data; never empty once accepted.
	DataContentType string
	// DataSchema is CloudEvents dataschema, a URI; optional.
	DataSchema string
	// OrderingKey: events of one key are delivered in order to webhooks that ask for it; optional.
	OrderingKey string
	// Data is the payload as received; valid JSON when DataContentType is JSON.
	Data []byte
	// Extensions are CloudEvents extension attributes, for example traceparent; nil for none.
	Extensions map[string]string
}

// Limits of an Event's attributes, in bytes unless said otherwise.
const (
	MaxNameLen         = 64
	MaxEventIDLen      = 256
	MaxEventTypeLen    = 256
	MaxSourceLen       = 1024
	MaxSubjectLen      = 1024
	MaxSchemaLen       = 1024
	MaxContentTypeLen  = 256
	MaxOrderingKeyLen  = 256
	MaxExtensions      = 32
	MaxExtensionName   = 20
	MaxExtensionValue  = 1024
	DefaultMaxData     = 256 << 10
	DefaultContentType = "application/json"
)

// TestSource is the source of the test events that the control plane makes, so that whoever looks at one knows where it
// came from, and a test that is tried again, even after a restart, is told from other deliveries.
const TestSource = "/sidehook/test"

// ValidName reports whether s can be an app id, webhook id or the like: 1-64 of [A-Za-z0-9_-].
func ValidName(s string) bool {
	if s == "" || len(s) > MaxNameLen {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !isAlnum(c) && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// Normalize fills the defaults of an event that came in at now.
func (e *Event) Normalize(now time.Time) {
	if e.Time.IsZero() {
		e.Time = now
	}
	e.Time = e.Time.UTC()
	if e.DataContentType == "" {
		e.DataContentType = DefaultContentType
	}
}

// Validate checks an event against CloudEvents 1.0 and the limits above; maxData bounds Data in bytes (0 for
// DefaultMaxData). It returns a *FieldError, or an error that is ErrTooLarge and names the size.
func (e *Event) Validate(maxData int) error {
	if maxData <= 0 {
		maxData = DefaultMaxData
	}
	if err := e.validateAttributes(); err != nil {
		return err
	}
	if len(e.Data) > maxData {
		return fmt.Errorf("data: %d bytes is over the limit of %d: %w", len(e.Data), maxData, ErrTooLarge)
	}
	if e.IsJSON() && len(e.Data) > 0 && !(utf8.Valid(e.Data) && jsonvalid.Valid(e.Data)) {
		return Fieldf("data", "is not valid JSON although data_content_type is %q", e.DataContentType)
	}
	return nil
}

// validateAttributes is Validate without Data.
func (e *Event) validateAttributes() error {
	switch {
	case !ValidName(e.App):
		return Fieldf("app", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxNameLen)
	case e.ID == "":
		return Fieldf("id", "is required: a value that is unique to this event within its app")
	case len(e.ID) > MaxEventIDLen || !isVisibleASCII(e.ID):
		return Fieldf("id", "must be at most %d visible ASCII characters without spaces", MaxEventIDLen)
	case e.Source == "":
		return Fieldf("source", "is required: a URI-reference such as /channels")
	case e.Type == "":
		return Fieldf("type", "is required, for example person.created")
	case !ValidEventType(e.Type):
		return Fieldf("type", "must be 1 to %d of A-Z a-z 0-9 _ . : / -", MaxEventTypeLen)
	case e.Time.Year() < 0 || e.Time.Year() > 9999:
		return Fieldf("time", "must be in the years 0 to 9999")
	}
	if err := e.validateTexts(); err != nil {
		return err
	}
	return e.validateExtensions()
}

func (e *Event) validateTexts() error {
	for _, t := range []struct {
		field, value string
		max          int
	}{
		{"source", e.Source, MaxSourceLen},
		{"subject", e.Subject, MaxSubjectLen},
		{"data_schema", e.DataSchema, MaxSchemaLen},
		{"data_content_type", e.DataContentType, MaxContentTypeLen},
		{"ordering_key", e.OrderingKey, MaxOrderingKeyLen},
	} {
		if len(t.value) > t.max {
			return Fieldf(t.field, "must be at most %d bytes", t.max)
		}
		if !isText(t.value) {
			return Fieldf(t.field, "must be UTF-8 without control characters")
		}
	}
	if e.DataContentType != "" && e.DataContentType != DefaultContentType {
		if _, _, err := mime.ParseMediaType(e.DataContentType); err != nil {
			return Fieldf("data_content_type", "is not a media type such as application/json")
		}
	}
	return nil
}

// attributeNames are what CloudEvents calls the attributes that an Event has fields for.
var attributeNames = []string{
	"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64",
	"app", "orderingkey",
}

func (e *Event) validateExtensions() error {
	if len(e.Extensions) > MaxExtensions {
		return Fieldf("extensions", "must be at most %d", MaxExtensions)
	}
	for name, value := range e.Extensions {
		if !ValidExtensionName(name) {
			return Fieldf("extensions", "name %.40q must be 1 to %d of a-z 0-9", name, MaxExtensionName)
		}
		if slices.Contains(attributeNames, name) {
			return Fieldf("extensions."+name, "is an attribute of its own, not an extension")
		}
		if len(value) > MaxExtensionValue || !isText(value) {
			return Fieldf("extensions."+name, "must be at most %d bytes of UTF-8 without control characters",
				MaxExtensionValue)
		}
	}
	return nil
}

// IsJSON reports whether Data is declared as JSON (application/json, text/json or a +json type).
func (e *Event) IsJSON() bool {
	ct := e.DataContentType
	if ct == "" || ct == DefaultContentType {
		return true
	}
	if i := strings.IndexByte(ct, ';'); i >= 0 {
		ct = ct[:i]
	}
	ct = strings.ToLower(strings.TrimSpace(ct))
	return ct == DefaultContentType || ct == "text/json" || strings.HasSuffix(ct, "+json")
}

// ValidEventType reports whether s can be an event type: 1-256 of [A-Za-z0-9_.:/-].
func ValidEventType(s string) bool {
	if s == "" || len(s) > MaxEventTypeLen {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !isAlnum(c) && !strings.ContainsRune("_.:/-", rune(c)) {
			return false
		}
	}
	return true
}

// ValidExtensionName reports whether s can name a CloudEvents extension attribute.
func ValidExtensionName(s string) bool {
	if s == "" || len(s) > MaxExtensionName {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isVisibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isText reports whether s is UTF-8 without C0 controls or DEL, so that it can stand in a header or a log line.
func isText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}
