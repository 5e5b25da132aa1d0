package outbound_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

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
		k.apply(webhook("big", filtered("data.n > 10")))
		none := k.publish(event("none", "a.b"))
		k.want("disposition", none[0].Disposition, outbound.Unmatched)
		k.apply(webhook("big"))
		k.want("without the filter", k.publish(event("again", "a.b"))[0].Disposition, outbound.Accepted)
	})
}

func TestBadFilterIsRefused(t *testing.T) {
	var fe *sidehook.FieldError
	if err := outbound.Check(&xds.Webhook{Webhook: *webhook("w", filtered("nope"))}); err == nil {
		t.Error("a filter that does not compile is taken")
	} else if errors.As(err, &fe) && fe.Field != "filter" {
		t.Errorf("refused with %v", err)
	}
}
