package match

import "strings"

// kind is where the stars of a pattern stand.
type kind uint8

const (
	kindExact  kind = iota // no star
	kindPrefix             // core.*
	kindSuffix             // *.core
	kindMiddle             // *.core.*
	kindAround             // core.*.rest
	kindTwice              // core.*.*
)

// wantsAll reports whether a pattern wants every event type.
func wantsAll(pattern string) bool { return pattern == "*" || pattern == "all" || pattern == "*.*" }

// split takes a pattern other than those of wantsAll apart; rest is of kindAround.
func split(pattern string) (k kind, core, rest string) {
	if before, after, ok := strings.Cut(pattern, ".*."); ok && before != "*" {
		switch {
		case after == "*":
			return kindTwice, before, ""
		case !strings.Contains(before+after, "*"):
			return kindAround, before, after
		}
	}
	core, first := strings.CutPrefix(pattern, "*.")
	core, last := strings.CutSuffix(core, ".*")
	switch {
	case first && last:
		return kindMiddle, core, ""
	case first:
		return kindSuffix, core, ""
	case last:
		return kindPrefix, core, ""
	}
	return kindExact, core, ""
}

// MatchPattern reports whether pattern wants eventType. It defines what an Index finds:
//
//   - all  *.*    every event type
//     a.b            the type a.b
//     a.*            types that begin with "a.", at any depth: a.b, a.b.c
//     *.b            types that end with ".b", at any depth: a.b, x.a.b
//     *.a.*          types with ".a." in their midst: x.a.y, x.a.y.z
//     a.*.b          types that begin with "a." and end with ".b", with words between: a.x.b, a.x.y.b
//     a.*.*          types that begin with "a." and have at least two words more: a.x.y, a.x.y.z
//
// Words may stand for several in the places of a and b (live.channel.*). A star stands for at least one character.
// Types compare case-sensitively.
func MatchPattern(pattern, eventType string) bool {
	if wantsAll(pattern) {
		return true
	}
	switch kind, core, rest := split(pattern); kind {
	case kindPrefix:
		return strings.HasPrefix(eventType, core+".") && len(eventType) > len(core)+1
	case kindSuffix:
		return strings.HasSuffix(eventType, "."+core) && len(eventType) > len(core)+1
	case kindMiddle:
		return len(eventType) > 2 && strings.Contains(eventType[1:len(eventType)-1], "."+core+".")
	case kindAround:
		return strings.HasPrefix(eventType, core+".") && strings.HasSuffix(eventType, "."+rest) &&
			len(eventType) > len(core)+len(rest)+2
	case kindTwice:
		after, ok := strings.CutPrefix(eventType, core+".")
		return ok && twoWords(after)
	default:
		return eventType == core
	}
}

// twoWords reports whether a dot in s has at least one character on both sides.
func twoWords(s string) bool { return len(s) > 2 && strings.Contains(s[1:len(s)-1], ".") }
