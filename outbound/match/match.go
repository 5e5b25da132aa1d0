// Package match says which webhooks want an event: it compiles the event patterns of an app's webhooks into an Index
// and looks an event's type up in it. It knows patterns and positions only, not webhooks; the caller decides which
// webhooks take part.
package match

import (
	"slices"
	"strings"
)

// Index answers which of the compiled pattern lists want an event type. It is immutable and safe for concurrent use.
//
// Every pattern becomes an entry of one of seven kinds, and a type finds all entries that want it by a few map look-ups
// per dot it contains. The cost therefore grows with the type's dots and with what matches, never with how many
// patterns there are.
type Index struct {
	all    []int            // "*", "all", "*.*"
	exact  map[string][]int // the whole type
	prefix map[string][]int // "core.*", by core
	suffix map[string][]int // "*.core", by core
	beside map[string][]int // the whole type, of lists that are in all anyway; for HasExact
	middle map[string][]int // "*.core.*", by core
	twice  map[string][]int // "core.*.*", by core
	// around has "core.*.rest", by core and then by rest.
	around map[string]map[string][]int
	// spans lists how many words the cores of middle have, each number once, so that a look-up tries no other.
	spans []int
}

// Compile builds the Index of patterns: patterns[i] are the patterns of the webhook at position i. Patterns are
// expected to be valid (see sidehook.ValidatePattern); one that is not is compared as a plain event type.
func Compile(patterns [][]string) *Index {
	ix := &Index{
		exact:  make(map[string][]int),
		prefix: make(map[string][]int),
		suffix: make(map[string][]int),
		middle: make(map[string][]int),
		beside: make(map[string][]int),
		twice:  make(map[string][]int),
		around: make(map[string]map[string][]int),
	}
	for i, list := range patterns {
		if slices.ContainsFunc(list, wantsAll) { // its other patterns can add nothing
			ix.all = append(ix.all, i)
			for _, p := range list {
				if kind, core, _ := split(p); kind == kindExact && !wantsAll(p) {
					post(ix.beside, core, i)
				}
			}
			continue
		}
		for _, p := range list {
			ix.add(p, i)
		}
	}
	return ix
}

func (ix *Index) add(pattern string, i int) {
	kind, core, rest := split(pattern)
	switch kind {
	case kindPrefix:
		post(ix.prefix, core, i)
	case kindSuffix:
		post(ix.suffix, core, i)
	case kindMiddle:
		post(ix.middle, core, i)
		if n := strings.Count(core, ".") + 1; !slices.Contains(ix.spans, n) {
			ix.spans = append(ix.spans, n)
		}
	case kindTwice:
		post(ix.twice, core, i)
	case kindAround:
		if ix.around[core] == nil {
			ix.around[core] = make(map[string][]int)
		}
		post(ix.around[core], rest, i)
	default:
		post(ix.exact, core, i)
	}
}

// post appends i to the list of core. Positions come in ascending order, so a list stays sorted and a repeated pattern
// of one webhook is seen at its end.
func post(m map[string][]int, core string, i int) {
	list := m[core]
	if n := len(list); n > 0 && list[n-1] == i {
		return
	}
	m[core] = append(list, i)
}

// Match appends to buf the positions whose patterns want eventType, in ascending order and each once, and returns the
// extended slice. It allocates only when buf has no room.
func (ix *Index) Match(eventType string, buf []int) []int {
	start := len(buf)
	lists := 0 // how many lists were appended: one alone is sorted and unique already
	add := func(list []int) {
		if len(list) > 0 {
			buf = append(buf, list...)
			lists++
		}
	}
	add(ix.all)
	if len(ix.exact) > 0 {
		add(ix.exact[eventType])
	}
	if len(ix.prefix)+len(ix.suffix) > 0 {
		ix.ends(eventType, add)
	}
	if len(ix.twice)+len(ix.around) > 0 {
		ix.within(eventType, add)
	}
	for _, n := range ix.spans {
		ix.spanning(eventType, n, add)
	}
	if lists < 2 {
		return buf
	}
	found := buf[start:]
	slices.Sort(found)
	return buf[:start+len(slices.Compact(found))]
}

// ends looks up what stands before and after each dot. A star stands for at least one character.
func (ix *Index) ends(t string, add func([]int)) {
	for i := range len(t) {
		if t[i] != '.' {
			continue
		}
		if i < len(t)-1 {
			add(ix.prefix[t[:i]])
		}
		if i > 0 {
			add(ix.suffix[t[i+1:]])
		}
	}
}

// within looks up what stands before each dot for patterns that have a star after it and do not end there.
func (ix *Index) within(t string, add func([]int)) {
	for i := range len(t) {
		if t[i] != '.' {
			continue
		}
		if twoWords(t[i+1:]) {
			add(ix.twice[t[:i]])
		}
		rests := ix.around[t[:i]]
		if rests == nil {
			continue
		}
		for j := i + 2; j < len(t); j++ { // a star stands for at least one character
			if t[j] == '.' {
				add(rests[t[j+1:]])
			}
		}
	}
}

// HasExact reports whether one of the patterns at position i is eventType itself.
func (ix *Index) HasExact(eventType string, i int) bool {
	_, found := slices.BinarySearch(ix.exact[eventType], i)
	if !found {
		_, found = slices.BinarySearch(ix.beside[eventType], i)
	}
	return found
}

// spanning looks up every run of n words that has a dot and at least one character on both sides.
func (ix *Index) spanning(t string, n int, add func([]int)) {
	end, dots := 0, 0
	// Invariant: t[begin] is a dot, and t[begin+1:end] holds n words once dots, the dots in t[begin+1:end+1], is n.
	for begin := range len(t) {
		if t[begin] != '.' {
			continue
		}
		if end <= begin {
			end, dots = begin, 0
		} else {
			dots-- // the dot at begin no longer counts
		}
		for dots < n {
			next := strings.IndexByte(t[end+1:], '.')
			if next < 0 {
				return
			}
			end += 1 + next
			dots++
		}
		if begin > 0 && end < len(t)-1 {
			add(ix.middle[t[begin+1:end]])
		}
	}
}
