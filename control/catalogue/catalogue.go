// Package catalogue holds the ready-made lists of event types of known products: what each event is called and means, in
// Vietnamese and English, with a realistic payload. An app imports one by name and may then change its own entries. It
// is data only: how a request looks on the wire is a format's business.
package catalogue

import (
	"maps"
	"slices"

	"github.com/sidehook/sidehook"
)

// Catalogue is the event types of one product. It is shared: change nothing in it.
type Catalogue struct {
	// Name to import it by: "sigma".
	Name string
	// Title is for people, by language ("vi", "en").
	Title map[string]string
	// EventTypes in the order of the product's own documents; their App is empty.
	EventTypes []sidehook.EventType
}

// Products lists the products of the event types, in their order.
func (c *Catalogue) Products() []string {
	var products []string
	for _, t := range c.EventTypes {
		if !slices.Contains(products, t.Product) {
			products = append(products, t.Product)
		}
	}
	return products
}

// Names lists the catalogues there are, sorted.
func Names() []string { return slices.Sorted(maps.Keys(builtIn())) }

// Lookup returns the catalogue of a name.
func Lookup(name string) (*Catalogue, bool) {
	c, ok := builtIn()[name]
	return c, ok
}
