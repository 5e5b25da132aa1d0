package outbound_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/xds"
)

func filtered(expression string) func(*sidehook.Webhook) {
	return func(w *sidehook.Webhook) { w.Filter = expression }
}

// TestFilters: a webhook gets what its filter lets through; what a filter has no answer for is not delivered, and counted;
// an event that all filters refuse is unmatched.
func TestFilters(t *testing.T) {
	bubble(t, func(k *kit) {
		k.apply(webhook("all"), webhook("big", filtered("data.n > 10")), webhook("ab", filtered(`type == "a.b"`)))
		for n, typ := range []string{"a.b", "c.d"} {
			e := event(fmt.Sprint("e", n), typ)
			e.Data = fmt.Appendf(nil, `{"n":%d}`, 5+n*10)
			k.publish(e)
		}
		odd := event("odd", "c.d")
		odd.Data = []byte(`[1]`)
		got := k.publish(odd)
		synctest.Wait()
		k.want("deliveries of what one filter has no answer for", got[0].Deliveries, 1)
		arrived := map[string]int{}
		for _, s := range k.recv.all() {
			arrived[strings.TrimPrefix(s.url, "https://")[:3]+s.headers["webhook-id"]]++
		}
		k.want("arrived", arrived, map[string]int{"alle0": 1, "alle1": 1, "allodd": 1, "bige1": 1, "ab.e0": 1})
		c := k.engine.Counts()
		k.want("counts", fmt.Sprint(c.Filtered, c.FilterErrors, c.Unmatched), "4 1 0")
		for _, h := range healthOf(k) {
			want, at := outbound.WebhookHealth{}, time.Time{}
			if h.Key.ID == "big" {
				want.FilterErrors, at = 1, time.Now()
			}
			if h.FilterErrors != want.FilterErrors || !h.FilterErrorAt.Equal(at) || (h.LastFilterError == "") != (want.FilterErrors == 0) {
				t.Errorf("health of %s: %+v", h.Key, h)
			}
			if want.FilterErrors > 0 && (!strings.Contains(h.LastFilterError, "(event odd of type c.d)") || h.LastFilterError[0] == '(') {
				t.Errorf("the filter said %q", h.LastFilterError)
			}
		}
		k.apply(webhook("big", filtered("data.n > 10")))
		none := k.publish(event("none", "a.b"))
		k.want("disposition", none[0].Disposition, outbound.Unmatched)
		k.apply(webhook("big"))
		k.want("without the filter", k.publish(event("again", "a.b"))[0].Disposition, outbound.Accepted)
	})
}

// TestFilterErrorsAreTold: health changes with each, though nothing was attempted.
func TestFilterErrorsAreTold(t *testing.T) {
	bubble(t, func(k *kit) {
		k.apply(webhook("w", filtered("data.n > 10")))
		changes := k.engine.HealthChanges()
		for n := 1; n <= 3; n++ {
			time.Sleep(time.Second)
			e := event(fmt.Sprint("e", n), "a.b")
			e.Data = []byte(`{"m":"secret"}`)
			k.publish(e)
			synctest.Wait()
			got, _ := changes.Next(10)
			if len(got) != 1 || got[0].FilterErrors != int64(n) || !got[0].FilterErrorAt.Equal(time.Now()) || got[0].FailedAttempts != 0 ||
				got[0].LastFilterError != fmt.Sprintf("no such key: n (event e%d of type a.b)", n) {
				t.Fatalf("after %d: %+v", n, got)
			}
		}
		got, _ := changes.Next(10)
		k.want("without a change", len(got), 0)
	})
}

// healthOf is what a new reader is told of the engine's webhooks.
func healthOf(k *kit) []outbound.WebhookHealth {
	all, _ := k.engine.HealthChanges().Next(100)
	return all
}

func TestBadFilterIsRefused(t *testing.T) {
	var fe *sidehook.FieldError
	if err := outbound.Check(&xds.Webhook{Webhook: webhook("w", filtered("nope"))}); err == nil {
		t.Error("a filter that does not compile is taken")
	} else if errors.As(err, &fe) && fe.Field != "filter" {
		t.Errorf("refused with %v", err)
	}
}
