package ingest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"

	"github.com/sidehook/sidehook"
)

func withStructured(ctx context.Context) context.Context { return binding.WithForceStructured(ctx) }
func withBinary(ctx context.Context) context.Context     { return binding.WithForceBinary(ctx) }

// FuzzCloudEvents: whatever a request holds, reading it ends with events or with an error that can be answered, and
// what passes validation has no control characters in any text.
func FuzzCloudEvents(f *testing.F) {
	const good = `"specversion":"1.0","id":"1","source":"/s","type":"t"`
	for _, s := range [][3]string{
		{structured, "", `{` + good + `,"data":{"a":1},"app":"demo","x":1,"y":true}`},
		{structured, "", `{"data_base64":1,` + good + `}`},
		{structured, "", `{"":1,` + good + `,"time":"2026-01-02T15:04:05Z"}`},
		{structured, "", `{` + good + `,"datacontenttype":"text/plain","data":"\ud800"}`},
		{"application/cloudevents-batch+json", "", `[{` + good + `},null,1]`},
		{"application/json", "Ce-Id: 1\nCe-Specversion: 1.0\nCe-Source: /s\nCe-Type: t\nCe-X: %41", `{}`},
		{"", "Ce-: 1\nCe-Specversion: 1.0", ``},
		{"", "Ce-Subject: \"\\\nCe-Specversion: 1.0\nCe-Dataschema: :", ``},
	} {
		f.Add(s[0], s[1], []byte(s[2]))
	}
	f.Fuzz(func(t *testing.T, contentType, headers string, body []byte) {
		h := http.Header{"Content-Type": {contentType}}
		for line := range strings.Lines(headers) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			h[http.CanonicalHeaderKey(name)] = append(h[http.CanonicalHeaderKey(name)], value)
		}
		events, _, err := parseCloudEvents(h, body)
		var media *mediaError
		if err != nil {
			if !errors.As(err, &media) && refusalOf(err).cause != nil {
				t.Fatalf("our own fault: %v", err)
			}
			return
		}
		s := NewServer(Options{Acceptor: nowhere{}, DefaultApp: "demo"})
		if _, err := s.check(events, true); err != nil {
			if refusalOf(err).cause != nil {
				t.Fatalf("our own fault: %v", err)
			}
			return
		}
		for _, e := range events {
			if strings.ContainsFunc(e.App+e.ID+e.Source+e.Type+e.Subject, func(r rune) bool { return r < ' ' }) {
				t.Fatalf("control characters in %+v", e)
			}
			if err := e.Validate(sidehook.DefaultMaxData); err != nil {
				t.Fatalf("%+v: %v", e, err)
			}
		}
	})
}
