package filter

import (
	"bytes"
	"encoding/json"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/sidehook/sidehook"
)

// Event is an event as filters see it. Its data is decoded once, when the first filter looks at it. It is for one
// goroutine.
type Event struct {
	event   *sidehook.Event
	decoded bool
	data    any // a *types.Err when there is no telling
}

// Of wraps an event, which must not change any more.
func Of(event *sidehook.Event) *Event { return &Event{event: event} }

// Parent implements cel.Activation.
func (e *Event) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation.
func (e *Event) ResolveName(name string) (any, bool) {
	switch name {
	case "type":
		return e.event.Type, true
	case "source":
		return e.event.Source, true
	case "subject":
		return e.event.Subject, true
	case "app":
		return e.event.App, true
	case "time":
		return e.event.Time, true
	case "data":
		if !e.decoded {
			e.decoded, e.data = true, decode(e.event)
		}
		return e.data, true
	}
	return nil, false
}

func decode(event *sidehook.Event) any {
	if len(event.Data) == 0 {
		return types.NullValue
	}
	if !event.IsJSON() {
		return types.NewErr("data is not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(event.Data))
	d.UseNumber()
	var data any
	if err := d.Decode(&data); err != nil {
		return types.NewErr("data is not JSON")
	}
	if data == nil {
		return types.NullValue
	}
	return numbers(data)
}

// numbers makes ints and doubles of the numbers in decoded JSON.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return types.NewErr(outOfRange)
		}
		return f
	case map[string]any:
		for k, x := range v {
			v[k] = numbers(x)
		}
	case []any:
		for i, x := range v {
			v[i] = numbers(x)
		}
	}
	return v
}
