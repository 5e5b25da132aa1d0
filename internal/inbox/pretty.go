package inbox

import (
	"bytes"
	"encoding/json"
	"strings"
)

// maxTinted is the largest body that is coloured, in bytes; a colour is an element on the page.
const maxTinted = 16 << 10

// token is a piece of text with the class that colours it, empty for none: k a name, s a string, n another scalar.
type token struct{ Class, Text string }

// tokens lays out a JSON body for reading; another body stays as it is.
func tokens(a *Arrival) []token {
	if a.Body == "" {
		return nil
	}
	var indented bytes.Buffer
	if a.Truncated || json.Indent(&indented, []byte(a.Body), "", "  ") != nil {
		return []token{{Text: a.Body}}
	}
	if indented.Len() > maxTinted {
		return []token{{Text: indented.String()}}
	}
	return tint(indented.String())
}

// tint cuts valid JSON into tokens.
func tint(s string) []token {
	var out []token
	plain := 0 // start of the text that has no colour
	emit := func(from, to int, class string) {
		if plain < from {
			out = append(out, token{Text: s[plain:from]})
		}
		out = append(out, token{class, s[from:to]})
		plain = to
	}
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"':
			end := stringEnd(s, i)
			class := "s"
			if strings.HasPrefix(s[end:], ":") {
				class = "k"
			}
			emit(i, end, class)
			i = end
		case c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z':
			end := i + 1
			for end < len(s) && !strings.ContainsRune(",]} \n\r\t", rune(s[end])) {
				end++
			}
			emit(i, end, "n")
			i = end
		default:
			i++
		}
	}
	if plain < len(s) {
		out = append(out, token{Text: s[plain:]})
	}
	return out
}

// stringEnd returns the index after the string that starts at s[i].
func stringEnd(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// eventType finds what kind of event an arrival carries.
func eventType(a *Arrival) string {
	var body struct {
		Type any `json:"type"`
	}
	if !a.Truncated && json.Unmarshal([]byte(a.Body), &body) == nil {
		if t, ok := body.Type.(string); ok {
			return t
		}
	}
	return a.Headers.Get("Ce-Type")
}
