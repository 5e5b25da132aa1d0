package main

import (
	"os"
	"testing"

	"github.com/sidehook/sidehook/plugin"
	"github.com/sidehook/sidehook/plugin/plugintest"
)

// TestMain lets the test binary play the transformer when the conformance suite starts it.
func TestMain(m *testing.M) {
	if os.Getenv(plugin.CookieKey) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestConformance starts the program as a sidecar does and looks for what a sidecar would trip over.
func TestConformance(t *testing.T) { plugintest.Run(t, os.Args[0]) }

// TestTransform says what comes of an event's data; nothing means that the event is dropped.
func TestTransform(t *testing.T) {
	for data, want := range map[string]string{
		`{"id":9007199254740993,"name":"Alice"}`: `{"id":9007199254740993,"name":"ALICE"}`,
		`{"id":7}`:                               ``,
	} {
		result, err := transformer{}.Transform(t.Context(), item(data))
		if err != nil {
			t.Errorf("%s: %v", data, err)
			continue
		}
		if got := string(result.Data(item(data))); got != want {
			t.Errorf("%s became %s, want %s", data, got, want)
		}
	}
	for _, data := range []string{`{"name":7}`, `["Alice"]`, `{`} {
		if result, err := (transformer{}).Transform(t.Context(), item(data)); err == nil {
			t.Errorf("%s was not refused but became %s", data, result.Data(item(data)))
		}
	}
}

func item(data string) *plugin.Item {
	return &plugin.Item{Event: plugin.Event{ID: "1", DataContentType: "application/json", Data: []byte(data)}}
}
