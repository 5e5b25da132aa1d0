package match

import "strings"

// kind is where the stars of a pattern stand.
type kind uint8

const (
	kindExact  kind = iota // no star
	kindPrefix             // core.*
	kindSuffix             // *.core
	kindMiddle             // *.core.*
)

// wantsAll reports whether a pattern wants every event type.
func wantsAll(pattern string) bool { return pattern == "*" || pattern == "all" || pattern == "*.*" }

// split takes a pattern other than those of wantsAll apart.
func split(pattern string) (kind, string) {
	core, first := strings.CutPrefix(pattern, "*.")
	core, last := strings.CutSuffix(core, ".*")
	switch {
	case first && last:
		return kindMiddle, core
	case first:
		return kindSuffix, core
	case last:
		return kindPrefix, core
	}
	return kindExact, core
}

// MatchPattern reports whether pattern wants eventType. It defines what an Index finds:
//
//   - all  *.*    every event type
//     a.b            the type a.b
//     a.*            types that begin with "a.", at any depth: a.b, a.b.c
//     *.b            types that end with ".b", at any depth: a.b, x.a.b
//     *.a.*          types with ".a." in their midst: x.a.y, x.a.y.z
//
// Words may stand for several in the places of a and b (live.channel.*). A star stands for at least one character.
// Types compare case-sensitively.
func MatchPattern(pattern, eventType string) bool {
	if wantsAll(pattern) {
		return true
	}
	switch kind, core := split(pattern); kind {
	case kindPrefix:
		return strings.HasPrefix(eventType, core+".") && len(eventType) > len(core)+1
	case kindSuffix:
		return strings.HasSuffix(eventType, "."+core) && len(eventType) > len(core)+1
	case kindMiddle:
		return len(eventType) > 2 && strings.Contains(eventType[1:len(eventType)-1], "."+core+".")
	default:
		return eventType == core
	}
}
