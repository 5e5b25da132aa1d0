package client_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/client"
)

// TestDeliveriesAreCollected: pages can be short; who is missing from several of them is named once.
func TestDeliveriesAreCollected(t *testing.T) {
	c, got := serve(
		t,
		answer{200, "", `{"data":[{"id":"1"},{"id":"2"}],"missing":[{"id":"sc_1","reason":"slow"}],"next_cursor":"a"}`},
		answer{200, "", `{"data":[],"missing":[{"id":"sc_1","reason":"slow"},{"id":"sc_2","reason":"gone"}],"next_cursor":"b"}`},
		answer{200, "", `{"data":[{"id":"3"}],"missing":[]}`},
	)
	list, err := c.Deliveries(t.Context(), "demo", client.DeliveryFilter{}, 300)
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Data) != 3 || len(list.Missing) != 2 || list.NextCursor != "" {
		t.Errorf("collected %+v", list)
	}
	var queries []string
	for _, s := range *got {
		queries = append(queries, s.Query)
	}
	if strings.Join(queries, " ") != "limit=200 cursor=a&limit=200 cursor=b&limit=200" {
		t.Errorf("asked %q", queries)
	}
}

func TestDeliveryIDsAreChecked(t *testing.T) {
	c, got := serve(t, answer{200, "", `{}`})
	for _, id := range []string{"", "dlv_", "../x", "dlv_/../../apps", sidehook.DeliveryID{}.String() + "/"} {
		if _, err := c.Delivery(t.Context(), "demo", id); err == nil {
			t.Errorf("got delivery %q", id)
		}
		if err := c.RetryDelivery(t.Context(), "demo", id); err == nil {
			t.Errorf("retried delivery %q", id)
		}
	}
	var fe *sidehook.FieldError
	if _, err := c.Drain(t.Context(), "../apps"); !errors.As(err, &fe) || fe.Field != "sidecar" {
		t.Errorf("drain of a path gives %v", err)
	}
	if len(*got) > 0 {
		t.Errorf("asked %v", *got)
	}
}
