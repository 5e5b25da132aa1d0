package ingest

import (
	"fmt"
	"testing"

	"github.com/sidehook/sidehook"
)

// TestAcceptorRefusesAField: the field is named as the publisher wrote it, alone or in a list.
func TestAcceptorRefusesAField(t *testing.T) {
	const event = `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`
	for _, tc := range []struct{ contentType, body, field string }{
		{structured, event, "type"},
		{"application/cloudevents-batch+json", "[" + event + "]", "events[0].type"},
	} {
		k := newKeeper("demo")
		k.fail(fmt.Errorf("accept: %w", sidehook.Fieldf("events[0].type", "is not known")), nil)
		url := openHTTP(t, NewServer(Options{Acceptor: k, DefaultApp: "demo"}))
		code, header, body := post(t, url, tc.body, "Content-Type", tc.contentType)
		p := readProblem(t, header, body)
		if code != 400 || len(p.Errors) != 1 || p.Errors[0].Field != tc.field {
			t.Errorf("%s: %d %s; want field %s", tc.contentType, code, body, tc.field)
		}
	}
}
