package main

import "bytes"

// hide replaces e-mail addresses and telephone numbers in text by the mask, and returns how many there were; with none
// it returns text itself.
func (r *redactor) hide(text, mask []byte) ([]byte, int) {
	emails, phones := 0, 0
	if r.emails {
		text, emails = replaceAll(text, mask, findEmail)
	}
	if r.phones {
		text, phones = replaceAll(text, mask, findPhone)
	}
	return text, emails + phones
}

// replaceAll puts the mask in the place of all that find finds; it does not change text.
func replaceAll(text, mask []byte, find func(text []byte, from int) (start, end int)) ([]byte, int) {
	start, end := find(text, 0)
	if start < 0 {
		return text, 0
	}
	var out []byte
	copied, n := 0, 0
	for ; start >= 0; start, end = find(text, copied) {
		out = append(append(out, text[copied:start]...), mask...)
		copied = end
		n++
	}
	return append(out, text[copied:]...), n
}

// findEmail finds what this expression finds first in text[from:]; by hand, because it looks at every string of every
// event and the expression takes 50 times as long:
//
//	[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(\.[A-Za-z0-9\-]+)+
func findEmail(text []byte, from int) (start, end int) {
	for at := from; ; at++ {
		n := bytes.IndexByte(text[at:], '@')
		if n < 0 {
			return -1, -1
		}
		at += n
		start = at
		for start > from && isLocal(text[start-1]) {
			start--
		}
		if end = domainEnd(text, at+1); start < at && end > 0 {
			return start, end
		}
	}
}

// domainEnd returns where the domain ends that starts at text[i]: labels with dots between them, at least two; 0: there
// is none.
func domainEnd(text []byte, i int) int {
	end := 0
	for labels := 1; ; labels++ {
		label := i
		for i < len(text) && (isAlnum(text[i]) || text[i] == '-') {
			i++
		}
		if i == label {
			return end
		}
		if labels > 1 {
			end = i
		}
		if i == len(text) || text[i] != '.' {
			return end
		}
		i++
	}
}

// findPhone finds what this expression finds first in text[from:]: + or a leading zero, and 8 to 15 digits in groups;
// digits alone are more often an id.
//
//	(\+[0-9]|\b0[0-9])([ .\-()]{0,2}[0-9]){7,14}\b
func findPhone(text []byte, from int) (start, end int) {
	for i := from; i+1 < len(text); i++ {
		if c := text[i]; c != '+' && c != '0' || !isDigit(text[i+1]) {
			continue
		}
		if text[i] == '0' && i > 0 && isWord(text[i-1]) {
			continue
		}
		if end := phoneEnd(text, i+2); end > 0 {
			return i, end
		}
	}
	return -1, -1
}

// phoneEnd returns the last place at which a telephone number may end of which text[:i] has the first digit; 0: none.
func phoneEnd(text []byte, i int) int {
	end := 0
	for digits := 1; digits <= 14; digits++ {
		for gap := 0; gap < 2 && i < len(text) && isGap(text[i]); gap++ {
			i++
		}
		if i == len(text) || !isDigit(text[i]) {
			return end
		}
		i++
		if digits >= 7 && (i == len(text) || !isWord(text[i])) {
			end = i
		}
	}
	return end
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlnum(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isWord(c byte) bool { return isAlnum(c) || c == '_' }

func isLocal(c byte) bool {
	return isAlnum(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-'
}

func isGap(c byte) bool { return c == ' ' || c == '.' || c == '-' || c == '(' || c == ')' }
