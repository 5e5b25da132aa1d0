package match_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/match"
)

func TestMatchPattern(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"*", []string{"a", "a.b", "mediaVOD.job.created"}, nil},
		{"all", []string{"a", "channel_live", "a.b.c"}, nil},
		{"*.*", []string{"person.created", "channel_live", "a.b.c"}, nil},
		{"person.created", []string{"person.created"}, []string{"person.created.x", "x.person.created", "Person.created"}},
		{"person.*", []string{"person.created", "person.a.b"}, []string{"person", "person.", "personal.created", "x.person.y"}},
		{"*.created", []string{"person.created", "mediaVOD.job.created"}, []string{"created", ".created", "person.recreated", "person.created.x"}},
		{"livestream.channel.*", []string{"livestream.channel.live"}, []string{"livestream.session.created", "livestream.channel"}},
		{"*.job.complete", []string{"mediaVOD.job.complete", "a.b.job.complete"}, []string{"job.complete", "mediaVOD.job.completed"}},
		{"*.job.*", []string{"mediaVOD.job.created", "a.b.job.c.d"}, []string{"job.created", "a.job", ".job.a", "a.job.", "a.xjob.b"}},
		{"*.ads.transcode.*", []string{"dai.ads.transcode.failed"}, []string{"dai.ads.failed", "ads.transcode.failed", "dai.ads.transcode"}},
		{
			"metadata.*.created",
			[]string{"metadata.object.created", "metadata.a.b.created"},
			[]string{"metadata.created", "metadata..created", "metadata.object.updated", "x.metadata.object.created", "metadata.object.created.x"},
		},
		{"a.*.a", []string{"a.x.a", "a.a.a", "a.x.a.a"}, []string{"a.a", "a", "a.x.b"}},
		{"a.b.*.c.d", []string{"a.b.x.c.d", "a.b.c.d.c.d"}, []string{"a.b.c.d", "a.x.c.d", "a.b.x.c"}},
		{"metadata.*.*", []string{"metadata.object.created", "metadata.a.b.c"}, []string{"metadata.object", "metadata.", "metadata.object.", "metadata..created", "x.metadata.a.b"}},
		{"a.a", []string{"a.a"}, []string{"a", "a.a.a"}},
		{"*.a.*", []string{"a.a.a", "a.a.a.a"}, []string{"a.a", "a"}},
	} {
		for _, typ := range c.yes {
			if !match.MatchPattern(c.pattern, typ) {
				t.Errorf("%q does not want %q", c.pattern, typ)
			}
			if got := match.Compile([][]string{{c.pattern}}).Match(typ, nil); !slices.Equal(got, []int{0}) {
				t.Errorf("index of %q finds %v for %q, want [0]", c.pattern, got, typ)
			}
		}
		for _, typ := range c.no {
			if match.MatchPattern(c.pattern, typ) {
				t.Errorf("%q wants %q", c.pattern, typ)
			}
			if got := match.Compile([][]string{{c.pattern}}).Match(typ, nil); len(got) != 0 {
				t.Errorf("index of %q finds %v for %q, want none", c.pattern, got, typ)
			}
		}
	}
}

func TestMatchOrderAndOnce(t *testing.T) {
	ix := match.Compile([][]string{
		{"*.created", "person.*", "person.created"}, // three ways to want one type
		{"company.*"},
		{"person.created", "person.created"},
		nil,
		{"*", "person.created"},
		{"person.*"},
		{},
	})
	if got, want := ix.Match("person.created", nil), []int{0, 2, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := ix.Match("company.deleted", nil), []int{1, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHasExact(t *testing.T) {
	ix := match.Compile([][]string{{"a.*", "a.b"}, {"*", "a.b"}, {"*.*", "a.*"}, {"a.*"}, nil, {"a.b"}})
	var got []int
	for i := range 7 {
		if ix.HasExact("a.b", i) {
			got = append(got, i)
		}
	}
	if want := []int{0, 1, 5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := ix.Match("a.b", nil); !slices.Equal(got, []int{0, 1, 2, 3, 5}) {
		t.Errorf("matched %v", got)
	}
}

func TestMatchAppends(t *testing.T) {
	ix := match.Compile([][]string{{"*"}, {"a.b"}, {"a.*"}})
	if got, want := ix.Match("a.b", []int{7, 0}), []int{7, 0, 0, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("got %v, want what was there and then the matches: %v", got, want)
	}
}

func TestEmptyIndex(t *testing.T) {
	for _, ix := range []*match.Index{match.Compile(nil), new(match.Index)} {
		if got := ix.Match("a.b.c", nil); len(got) != 0 {
			t.Errorf("an empty index finds %v", got)
		}
	}
}

// naive is the definition that an Index is compared with.
func naive(patterns [][]string, typ string) []int {
	var found []int
	for i, list := range patterns {
		if slices.ContainsFunc(list, func(p string) bool { return match.MatchPattern(p, typ) }) {
			found = append(found, i)
		}
	}
	return found
}

func TestMatchAgainstDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := func() string {
		n := 1 + r.IntN(4)
		w := make([]string, n)
		for i := range w {
			w[i] = []string{"a", "b", "c", ""}[r.IntN(4)] // few, so that they meet; empty ones are legal in types
		}
		return strings.Join(w, ".")
	}
	matched := 0
	for range 20_000 {
		patterns := make([][]string, r.IntN(8))
		for i := range patterns {
			for range r.IntN(4) {
				p := words()
				switch r.IntN(11) {
				case 7, 8:
					p += ".*." + words()
				case 9:
					p += ".*.*"
				case 0, 1:
					p += ".*"
				case 2, 3:
					p = "*." + p
				case 4, 5:
					p = "*." + p + ".*"
				case 6:
					p = []string{"*", "all", "*.*"}[r.IntN(3)]
				}
				patterns[i] = append(patterns[i], p)
			}
		}
		typ := words()
		want, got := naive(patterns, typ), match.Compile(patterns).Match(typ, nil)
		if !slices.Equal(got, want) {
			t.Fatalf("%q against %q: got %v, want %v", typ, patterns, got, want)
		}
		matched += len(got)
	}
	if matched < 1000 {
		t.Errorf("only %d matches in all: the comparison shows little", matched)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("person.created", "person.*,*.created\n*\nall")
	f.Add("a.b.c.d", "*.b.*,*.b.c.*\n*.*")
	f.Add("metadata.a.created", "metadata.*.created,a.*.*\nmetadata.*.*\n.*.")
	f.Add("..", "*.,.*\n*..*\n.")
	f.Add("", "\n,")
	f.Fuzz(func(t *testing.T, typ, list string) {
		var patterns [][]string
		for line := range strings.SplitSeq(list, "\n") {
			patterns = append(patterns, strings.Split(line, ","))
		}
		want, got := naive(patterns, typ), match.Compile(patterns).Match(typ, nil)
		if !slices.Equal(got, want) {
			t.Errorf("%q against %q: got %v, want %v", typ, patterns, got, want)
		}
	})
}

// crowd makes n pattern lists of which ten want livestream.channel.live.
func crowd(n int) [][]string {
	patterns := make([][]string, n)
	for i := range patterns {
		patterns[i] = []string{fmt.Sprintf("product%d.*", i), fmt.Sprintf("product%d.job.created", i), fmt.Sprintf("*.done%d", i)}
	}
	for i := range 10 {
		patterns[i*n/10] = []string{[]string{"livestream.*", "*.live", "livestream.channel.live"}[i%3]}
	}
	return patterns
}

func TestMatchAllocatesNothing(t *testing.T) {
	ix := match.Compile(append(crowd(1000), []string{"*.channel.*"}, []string{"livestream.*.live"}, []string{"livestream.*.*"}))
	buf := make([]int, 0, 64)
	if n := testing.AllocsPerRun(100, func() { buf = ix.Match("livestream.channel.live", buf[:0]) }); n != 0 {
		t.Errorf("%v allocations with room in buf, want none", n)
	}
	if len(buf) != 13 {
		t.Errorf("found %v, want 13", buf)
	}
}

func TestValidPatternsAreUnderstood(t *testing.T) {
	for _, p := range []string{"*", "all", "*.*", "a", "a.*", "*.a", "*.a.*", "a.b.c", "a.b.*", "a.*.b", "a.*.*"} {
		if err := sidehook.ValidatePattern(p); err != nil {
			t.Errorf("%q is a pattern here but not to the root package: %v", p, err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000} {
		b.Run(fmt.Sprintf("webhooks=%d", n), func(b *testing.B) {
			ix := match.Compile(crowd(n))
			buf := make([]int, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				buf = ix.Match("livestream.channel.live", buf[:0])
			}
			if len(buf) != 10 {
				b.Fatalf("found %d, want 10", len(buf))
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	patterns := crowd(100_000)
	b.ReportAllocs()
	for b.Loop() {
		match.Compile(patterns)
	}
}
