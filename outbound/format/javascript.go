package format

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// appendJavaScript appends JSON as JSON.stringify of JavaScript prints what JSON.parse read: without white space, with
// the escapes of appendString and no others, numbers in their shortest form. A receiver that parses and prints again
// then has the same bytes, which it needs to check a signature that way.
//
// Two things stay as published. Members keep their order, although JavaScript moves names that are integers to the
// front. Numbers that JavaScript cannot hold exactly keep their digits: a receiver that reads them is worth more than
// one that prints them.
func appendJavaScript(b, data []byte) ([]byte, error) {
	for i := 0; i < len(data); {
		switch c := data[i]; {
		case strings.IndexByte(jsonSpace, c) >= 0:
			i++
		case c == '"':
			n := stringEnd(data[i:])
			if n < 0 {
				return b, errMalformed
			}
			var err error
			if b, err = appendReescaped(b, data[i+1:i+n-1]); err != nil {
				return b, err
			}
			i += n
		case c == '-' || '0' <= c && c <= '9':
			n := numberEnd(data[i:])
			b = appendNumber(b, string(data[i:i+n]))
			i += n
		default: // brackets, braces, colons, commas, true, false, null
			b = append(b, c)
			i++
		}
	}
	return b, nil
}

// appendReescaped appends the inside of a JSON string with the escapes of JSON.stringify.
func appendReescaped(b, inside []byte) ([]byte, error) {
	b = append(b, '"')
	for i := 0; i < len(inside); {
		c := inside[i]
		if c != '\\' {
			b = append(b, c)
			i++
			continue
		}
		if i+1 >= len(inside) {
			return b, errMalformed
		}
		if inside[i+1] != 'u' {
			if inside[i+1] != '/' {
				b = append(b, c)
			}
			b = append(b, inside[i+1])
			i += 2
			continue
		}
		r, n, err := unicodeEscape(inside[i:])
		if err != nil {
			return b, err
		}
		b = appendRune(b, r)
		i += n
	}
	return append(b, '"'), nil
}

// unicodeEscape reads the \u escape that b begins with, or two that make a pair of surrogates, and returns its length.
func unicodeEscape(b []byte) (rune, int, error) {
	first, err := codeUnit(b)
	if err != nil {
		return 0, 0, err
	}
	if utf16.IsSurrogate(first) && len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
		second, err := codeUnit(b[6:])
		if err != nil {
			return 0, 0, err
		}
		if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
			return r, 12, nil
		}
	}
	return first, 6, nil
}

func codeUnit(b []byte) (rune, error) {
	if len(b) < 6 {
		return 0, errMalformed
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return 0, errMalformed
	}
	return rune(n), nil
}

func appendRune(b []byte, r rune) []byte {
	switch {
	case r < ' ' || r == '"' || r == '\\':
		return appendEscape(b, byte(r))
	case utf16.IsSurrogate(r): // without its other half
		const lowerHex = hexDigits
		return append(b, '\\', 'u', lowerHex[r>>12], lowerHex[r>>8&0xf], lowerHex[r>>4&0xf], lowerHex[r&0xf])
	}
	return utf8.AppendRune(b, r)
}

func numberEnd(b []byte) int {
	for i, c := range b {
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			return i
		}
	}
	return len(b)
}

// appendNumber appends a number in JavaScript's form when that is the same number in decimal, else as it is.
func appendNumber(b []byte, text string) []byte {
	const safeDigits = 15 // every integer of so many digits is exact, and printed as it is
	if len(text) <= safeDigits && strings.Trim(text, "0123456789") == "" {
		return append(b, text...)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return append(b, text...)
	}
	if printed := javaScriptNumber(f); decimalOf(printed) == decimalOf(text) {
		return append(b, printed...)
	}
	return append(b, text...)
}

// javaScriptNumber prints f as Number::toString does (ECMAScript, section 6.1.6.1.20).
func javaScriptNumber(f float64) string {
	if f == 0 {
		return "0" // also for -0
	}
	if size := max(f, -f); size >= 1e-6 && size < 1e21 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	if head, ok := strings.CutSuffix(s[:len(s)-1], "e-0"); ok { // 1e-07 is 1e-7
		return head + "e-" + s[len(s)-1:]
	}
	return s
}

// decimal is a number's value: ±0.digits × 10^exp, without zeros at either end of digits.
type decimal struct {
	negative bool
	digits   string
	exp      int
}

// decimalOf reads a number that strconv.ParseFloat accepts.
func decimalOf(text string) decimal {
	var d decimal
	text, d.negative = strings.CutPrefix(text, "-")
	mantissa, exp := text, ""
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa, exp = text[:i], strings.TrimPrefix(text[i+1:], "+")
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	d.digits = strings.TrimLeft(whole+fraction, "0")
	d.exp, _ = strconv.Atoi(exp) // out of range only where the digits are all zeros, or the float is infinite or zero
	d.exp += len(d.digits) - len(fraction)
	if d.digits = strings.TrimRight(d.digits, "0"); d.digits == "" {
		return decimal{}
	}
	return d
}
