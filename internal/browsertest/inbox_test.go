//go:build with_chromium

package browsertest

import (
	"net/http"
	"strings"
	"testing"
)

func (pl *place) post(t *testing.T, url, body string, header ...string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
}

// TestInboxShowsArrivalsAtOnce: what arrives is on the page without a reload.
func TestInboxShowsArrivalsAtOnce(t *testing.T) {
	t.Parallel()
	pl := newPlace(t)
	p := newPage(t, "en")
	pl.post(t, pl.inbox+"/in/first", `{"type":"person.created","data":{"name":"Kênh <b>"}}`, "webhook-id", "evt_1")
	p.open(pl.inbox + "/bins/first/view")
	p.sees("evt_1")
	p.look("inbox")
	pl.post(t, pl.inbox+"/in/first", `{"type":"person.deleted"}`, "webhook-id", "evt_2")
	p.sees("evt_2")
}
