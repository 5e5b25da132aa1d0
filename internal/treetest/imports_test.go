package treetest

import (
	"slices"
	"strings"
	"testing"
)

// place is a part of the house: folders with the same rights. Packages of one place may import each other; beyond
// that only the places listed, which are all further down.
type place struct {
	name    string
	folders []string // a folder belongs to the place with the longest one that it is within
	may     []string // names of places
	why     string   // why nothing else
}

var places = []place{
	{"json check", []string{"internal/jsonvalid"}, nil, "what is JSON is the same for all, and everybody imports it with the words"},
	{"wire", []string{"internal/wire"}, nil, "how a message is read and written by hand is the same for all that stand in it"},
	{"words", []string{"."}, []string{"json check"}, "everybody imports the words, so they must drag nothing in"},
	{"api", []string{"api"}, nil, "published contracts stand alone: others generate code from them"},
	{
		"contracts",
		[]string{"storage", "xds"},
		[]string{"words", "api"},
		"a contract that knows an implementation or a user of it is none",
	},

	// Pure stages: functions of their input, so that they can be tested without a queue or a network.
	{"match", []string{"outbound/match"}, []string{"words"}, "a pure stage needs the words alone"},
	{"sign", []string{"outbound/sign"}, []string{"words"}, "a pure stage needs the words alone"},
	{"format", []string{"outbound/format"}, []string{"words"}, "a pure stage needs the words alone"},
	{"retry", []string{"outbound/retry"}, []string{"words"}, "a pure stage needs the words alone"},
	{"egress", []string{"internal/egress"}, nil, "host patterns and proxy URLs are text, the same for who checks and who sends"},
	{"send", []string{"outbound/send"}, []string{"words", "egress"}, "sending a request knows neither queue nor configuration"},
	{"pace", []string{"outbound/pace"}, []string{"words"}, "pacing knows neither queue nor configuration"},

	// Adapters: each implements a contract with a library, and knows no other.
	{"memstore", []string{"storage/memstore"}, []string{"words", "contracts"}, "adapters do not know each other"},
	{"badgerstore", []string{"storage/badgerstore"}, []string{"words", "contracts"}, "adapters do not know each other"},
	{
		"storagetest",
		[]string{"storage/storagetest"},
		[]string{"words", "contracts", "memstore"},
		"the suite compares any store with the model, and must know no other",
	},
	{"xds client", []string{"xds/client"}, []string{"words", "api", "contracts"}, "adapters do not know each other"},
	{"xds server", []string{"xds/server"}, []string{"words", "api", "contracts"}, "adapters do not know each other"},
	{"xds file", []string{"xds/file"}, []string{"words", "api", "contracts"}, "adapters do not know each other"},
	{
		"plugin kit",
		[]string{"plugin"},
		[]string{"wire", "words", "api"},
		"transformer authors import it, and must not get the sidecar with it",
	},
	{
		"plugin host",
		[]string{"plugin/host"},
		[]string{"wire", "words", "api", "contracts", "plugin kit"},
		"adapters do not know each other",
	},
	{
		"plugin suite",
		[]string{"plugin/plugintest"},
		[]string{"words", "api", "plugin kit", "plugin host"},
		"it asks a transformer the way the sidecar's host does, and needs nothing else of the sidecar",
	},

	{
		"plugin scaffold",
		[]string{"plugin/scaffold"},
		[]string{"words", "plugin kit"},
		"it writes files for people; what they start from imports what they may",
	},

	// Engines meet in internal/app and nowhere else: each must be usable and testable without the others.
	{"ingest", []string{"ingest"}, []string{"wire", "words", "api", "contracts", "json check"}, "engines know contracts, never each other nor an adapter"},
	{
		"outbound",
		[]string{"outbound"},
		[]string{"words", "api", "contracts", "match", "sign", "format", "retry", "send", "pace"},
		"engines know contracts, never each other nor an adapter",
	},
	{"control", []string{"control"}, []string{"words", "api", "contracts"}, "engines know contracts, never each other nor an adapter"},
	{
		"dialects",
		[]string{"control/dialect"},
		[]string{"words", "contracts", "match", "control"},
		"they speak for the service that is control's, and for no other part",
	},
	{
		"console",
		[]string{"control/console"},
		[]string{"words", "contracts", "match", "control"},
		"it shows the service that is control's and what patterns find, and no other part",
	},

	{
		"inbox",
		[]string{"internal/inbox"},
		[]string{"words", "sign"},
		"a receiver must know of the sender only what every receiver does",
	},
	{
		"terminal client",
		[]string{"internal/client"},
		[]string{"words", "api"},
		"it speaks to a server over its published API, not past it",
	},
	{"configuration", []string{"internal/config"}, []string{"words", "egress"}, "reading a file must not start what it configures"},
	{
		"app",
		[]string{"internal/app"},
		[]string{
			"words", "api", "contracts", "configuration", "badgerstore", "xds client", "xds server", "xds file",
			"plugin kit", "plugin host", "ingest", "outbound", "control", "dialects", "console", "sign", "send", "inbox",
			"terminal client",
		},
		"the composition root joins engines and adapters; the commands are above it, the test models beside it",
	},

	{
		"commands",
		[]string{"cmd"},
		[]string{"words", "api", "contracts", "configuration", "app", "sign", "plugin kit", "plugin host", "plugin suite", "plugin scaffold", "xds file", "inbox", "terminal client"},
		"a command turns flags and signals into options; engines and stores are joined in internal/app",
	},
}

// onlookers measure, show or check the whole from outside; they may import anything, and nothing may import them.
var onlookers = []string{"examples", "internal/bench", "internal/treetest", "internal/docstest", "internal/e2e", "internal/browsertest"}

func placeOf(dir string) *place {
	var best *place
	longest := -1
	for i := range places {
		for _, folder := range places[i].folders {
			if (folder == dir || folder != "." && within(dir, folder)) && len(folder) > longest {
				best, longest = &places[i], len(folder)
			}
		}
	}
	return best
}

func onlooker(dir string) bool {
	return slices.ContainsFunc(onlookers, func(folder string) bool { return within(dir, folder) })
}

func TestPlacesPointDown(t *testing.T) {
	seen := map[string]bool{}
	rank := func(name string) int {
		return slices.IndexFunc(places, func(p place) bool { return p.name == name })
	}
	for _, p := range places {
		if p.why == "" || seen[p.name] {
			t.Errorf("place %q has no reason, or stands twice", p.name)
		}
		seen[p.name] = true
		for _, name := range p.may {
			if rank(name) < 0 {
				t.Errorf("place %q may import %q, which does not exist", p.name, name)
			}
			if up := placeNamed(name); up != nil && slices.Contains(up.may, p.name) {
				t.Errorf("%q and %q may import each other: that is no order", p.name, name)
			}
		}
	}
}

func placeNamed(name string) *place {
	for i := range places {
		if places[i].name == name {
			return &places[i]
		}
	}
	return nil
}

func TestImportsPointDown(t *testing.T) {
	for _, pkg := range loaded(t) {
		dir, ok := rel(pkg.PkgPath)
		if !ok {
			t.Errorf("%s is not of this module", pkg.PkgPath)
			continue
		}
		if onlooker(dir) {
			continue
		}
		from := placeOf(dir)
		if from == nil {
			t.Errorf("%s has no place in the house: give it one in places, with what it may import", dir)
			continue
		}
		for path := range pkg.Imports {
			checkEdge(t, dir, from, path)
		}
	}
}

func checkEdge(t *testing.T, dir string, from *place, path string) {
	t.Helper()
	to, ours := rel(path)
	if !ours {
		if first, _, _ := strings.Cut(path, "/"); dir == "." && strings.Contains(first, ".") {
			t.Errorf("the root package imports %s, but may import the standard library only: %s", path, from.why)
		}
		return
	}
	switch target := placeOf(to); {
	case onlooker(to):
		t.Errorf("%s imports %s, which only looks on: nothing is built on it", dir, to)
	case target == nil || target == from || slices.Contains(from.may, target.name):
	default:
		t.Errorf("%s (%s) imports %s (%s): %s", dir, from.name, to, target.name, from.why)
	}
}

// libraries says where a third-party library may appear, tests and onlookers included.
var libraries = []struct {
	prefix  string
	folders []string
	why     string
}{
	{"github.com/dgraph-io/badger/", []string{"storage/badgerstore"}, "one package knows Badger, so that the queue can stand on something else"},
	{"github.com/hashicorp/go-plugin", []string{"plugin"}, "how processes are started and asked is the business of plugin"},
	{"github.com/hashicorp/go-hclog", []string{"plugin"}, "everybody else logs with log/slog"},
	{"github.com/envoyproxy/go-control-plane/", []string{"xds"}, "the xDS protocol ends at xds"},
	{"github.com/danielgtaylor/huma/", []string{"control"}, "the management API is the control plane's"},
	{"github.com/spf13/cobra", []string{"cmd"}, "flags end at the commands"},
	{"github.com/chromedp/", []string{"internal/browsertest"}, "only tests drive a browser"},
	{"github.com/Shopify/toxiproxy/", []string{"internal/e2e"}, "only tests need a bad network"},
	{"github.com/cloudevents/sdk-go/", []string{"ingest", "outbound/format"}, "the SDK reads events at the door, and checks the format in its tests"},
}

func TestLibrariesStayInTheirPlace(t *testing.T) {
	for _, file := range goFiles(t) {
		dir := folderOf(file)
		for path := range importsOf(t, file) {
			for _, l := range libraries {
				in := func(folder string) bool { return within(dir, folder) }
				if strings.HasPrefix(path+"/", l.prefix) && !slices.ContainsFunc(l.folders, in) {
					t.Errorf("%s imports %s: %s", file, path, l.why)
				}
			}
		}
	}
}
