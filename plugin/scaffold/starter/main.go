// Command starter is a transformer: it delivers the name in an event's data in capital letters, and drops an event
// without one. Put your own work into Transform.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sidehook/sidehook/plugin"
)

type transformer struct{}

// Describe says who this is.
func (transformer) Describe() plugin.Description {
	return plugin.Description{Name: "starter", Version: "1.0.0", Text: "Delivers names in capital letters."}
}

// Transform is shown one event on its way to one webhook and answers what to deliver. It is called from many goroutines
// at once, and again when the event is tried again: let the answer depend on the item alone.
func (transformer) Transform(_ context.Context, item *plugin.Item) (*plugin.Result, error) {
	var fields map[string]json.RawMessage // what is not decoded is delivered as it came, large numbers too
	if err := item.Decode(&fields); err != nil {
		return nil, err // the attempt fails and says why
	}
	raw, ok := fields["name"]
	if !ok {
		return plugin.Drop("it has no name"), nil // the delivery ends here, without a request
	}
	var name string
	if err := json.Unmarshal(raw, &name); err != nil {
		return nil, fmt.Errorf("name: %w", err)
	}
	upper, err := json.Marshal(strings.ToUpper(name))
	if err != nil {
		return nil, fmt.Errorf("name: %w", err)
	}
	fields["name"] = upper
	result, err := plugin.RewriteJSON(fields)
	if err != nil {
		return nil, err
	}
	return result.WithHeader("X-Transformed-By", "starter"), nil
}

func main() { plugin.Serve(transformer{}) }
