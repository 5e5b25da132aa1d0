// Package plugin is what the author of a transformer imports. A transformer is a program of its own that a sidecar
// starts; it is shown each event on its way to a webhook and rewrites, drops or refuses it before it is signed:
//
//	type upper struct{}
//
//	func (upper) Describe() plugin.Description {
//		return plugin.Description{Name: "upper", Version: "1.0.0", Text: "Shouts."}
//	}
//
//	func (upper) Transform(ctx context.Context, item *plugin.Item) (*plugin.Result, error) {
//		var person struct{ Name string }
//		if err := item.Decode(&person); err != nil {
//			return plugin.Fail("not a person: " + err.Error()), nil
//		}
//		person.Name = strings.ToUpper(person.Name)
//		return plugin.RewriteJSON(person)
//	}
//
//	func main() { plugin.Serve(upper{}) }
//
// The package serves; it does not find, start or watch transformers (package plugin/host does, inside the sidecar) and
// it does not test them (package plugin/plugintest does).
//
// # What always holds
//
//   - Transform is called from several goroutines at once, at most Options.Concurrency; guard what you share. The items
//     of one call are worked off one by one for as long as that is quick, and together when it is not.
//   - An event may be shown more than once: after a crash, a restart, or a retry. Transform should depend on nothing but
//     its input.
//   - The context ends when the sidecar stops waiting. An item that has not been answered by then is answered for you,
//     as a failure, so that it does not hold up the others that came with it.
//   - A panic in Transform becomes a failure of that item; the process lives on.
//   - Standard output and standard error go to the sidecar's log, line by line.
//   - The process ends when the sidecar asks it to, or when the sidecar is gone.
package plugin
