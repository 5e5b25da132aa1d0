package app

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// FuzzDeliveryQuery: any query for deliveries is one that a store may be asked, or is refused with a reason.
func FuzzDeliveryQuery(f *testing.F) {
	for _, s := range []string{
		"", "app=demo&webhook=w&type=a.*&limit=10&state=dead&cursor=dlv_e55afm80000000000010000000", "limit=0", "limit=1e9", "limit=%00", "state=Dead",
		"state=invalid", "a;b", "%zz", "limit=1&limit=x", "cursor=%ff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/deliveries", nil)
		r.URL = &url.URL{Path: "/deliveries", RawQuery: query}
		q, err := deliveryQuery(r)
		switch {
		case err != nil && err.Error() == "":
			t.Fatal("refused without a reason")
		case err == nil && (q.Limit < 0 || q.Limit > storage.MaxLimit):
			t.Fatalf("%q asks for %d", query, q.Limit)
		case err == nil && q.State != nil:
			if known, ok := sidehook.ParseDeliveryState(q.State.String()); !ok || known != *q.State {
				t.Fatalf("%q asks for the state %s", query, q.State)
			}
		}
	})
}
