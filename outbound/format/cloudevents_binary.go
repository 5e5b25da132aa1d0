package format

import (
	"slices"
	"time"

	"github.com/sidehook/sidehook"
)

// cloudEventsBinary is the binary mode of CloudEvents 1.0 over HTTP (HTTP protocol binding, section 3.1): the body is
// the data as published, Content-Type its media type, and each attribute a ce- header. Without data there is no
// Content-Type. Extension attributes are sorted by name. App and ordering key are Sidehook's own and left out.
type cloudEventsBinary struct{}

func (cloudEventsBinary) Name() string   { return sidehook.FormatCloudEventsBinary }
func (cloudEventsBinary) PerEvent() bool { return true }

func (cloudEventsBinary) Request(e *sidehook.Event, _ *sidehook.Webhook) (Shaped, error) {
	if err := checkTime(e.Time); err != nil {
		return Shaped{}, err
	}
	names, err := extensionNames(e.Extensions)
	if err != nil {
		return Shaped{}, err
	}
	s := Shaped{Body: e.Data, Headers: make([]sidehook.Header, 0, 7+len(names))}
	if len(e.Data) > 0 {
		s.ContentType = e.DataContentType
	}
	add := func(name, value string) {
		if value != "" {
			s.Headers = append(s.Headers, sidehook.Header{Key: "ce-" + name, Value: percentEncode(value)})
		}
	}
	add("specversion", "1.0")
	add("id", e.ID)
	add("source", e.Source)
	add("type", e.Type)
	add("subject", e.Subject)
	add("time", e.Time.UTC().Format(time.RFC3339Nano))
	add("dataschema", e.DataSchema)
	for _, name := range names {
		add(name, e.Extensions[name])
	}
	return s, nil
}

// extensionNames lists the names of extension attributes, sorted, and refuses what would pass for another attribute.
func extensionNames(extensions map[string]string) ([]string, error) {
	if len(extensions) == 0 {
		return nil, nil
	}
	names := make([]string, 0, len(extensions))
	for name := range extensions {
		switch {
		case attributes[name]:
			return nil, sidehook.Fieldf("extensions."+name, "is an attribute of CloudEvents and cannot be an extension")
		case !sidehook.ValidExtensionName(name):
			return nil, sidehook.Fieldf("extensions", "name %.40q must be 1 to %d of a-z 0-9", name, sidehook.MaxExtensionName)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// percentEncode encodes a value for a ce- header (HTTP protocol binding, section 3.1.3.2): space, double quote, percent
// and all that is not printable ASCII, byte by byte of its UTF-8.
func percentEncode(s string) string {
	const upperHex = "0123456789ABCDEF"
	plain := func(c byte) bool { return c > ' ' && c <= '~' && c != '"' && c != '%' }
	i := 0
	for i < len(s) && plain(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	b := append(make([]byte, 0, len(s)+16), s[:i]...)
	for ; i < len(s); i++ {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&0xf])
		}
	}
	return string(b)
}
