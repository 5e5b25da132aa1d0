package multisite

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/catalogue"
)

// hook is an event type as GET /hooks shows it.
type hook struct {
	Name    string          `json:"name"`
	Desc    string          `json:"desc"`
	Payload json.RawMessage `json:"payload"`
	// DeprecatedArgs is always empty.
	DeprecatedArgs []string `json:"deprecated_args"`
}

// hookList is an object of them by event type, in order.
type hookList []*sidehook.EventType

// hooks answers GET /hooks: the event types of the app with their samples or, when it has none, those of the product's
// catalogue.
func (h *handler) hooks(r request) (any, error) {
	types, err := h.eventTypes(r.Context(), r.app)
	if err != nil {
		return nil, err
	}
	return renderHooks(types, language(r.Header.Get("Accept-Language")))
}

func (h *handler) eventTypes(ctx context.Context, app string) (hookList, error) {
	var all hookList
	page := control.PageRequest{Limit: control.MaxPageLimit}
	for {
		types, next, err := h.svc.ListEventTypes(ctx, app, "", page)
		if err != nil {
			return nil, err
		}
		all = append(all, types...)
		if page.Cursor = next; next == "" {
			break
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	product, ok := catalogue.Lookup("multisite")
	if !ok {
		return nil, fmt.Errorf("there is no catalogue multisite")
	}
	for i := range product.EventTypes {
		all = append(all, &product.EventTypes[i])
	}
	return all, nil
}

func renderHooks(types hookList, lang string) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, t := range types {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := enc.Encode(t.Type); err != nil {
			return nil, fmt.Errorf("event type %s: %w", t.Type, err)
		}
		b.WriteByte(':')
		shown := hook{
			Name: cmp.Or(t.Name[lang], t.Name["en"], t.Type), Desc: cmp.Or(t.Description[lang], t.Description["en"]),
			Payload: t.Sample, DeprecatedArgs: []string{},
		}
		if len(shown.Payload) == 0 {
			shown.Payload = json.RawMessage("{}")
		}
		if err := enc.Encode(shown); err != nil {
			return nil, fmt.Errorf("event type %s: %w", t.Type, err)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// language is vi when the caller asks for that first, else en: the catalogues have these two.
func language(accept string) string {
	if first, _, _ := strings.Cut(accept, ","); strings.HasPrefix(strings.ToLower(strings.TrimSpace(first)), "vi") {
		return "vi"
	}
	return "en"
}
