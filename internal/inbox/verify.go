package inbox

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
)

// The headers of Standard Webhooks.
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

const (
	// tolerance of timestamps, as Standard Webhooks recommends.
	tolerance = 5 * time.Minute
	// maxSignatures is how many signatures of one header are tried.
	maxSignatures = 16
)

// request is what a verdict is about.
type request struct {
	body    []byte
	headers http.Header
	at      time.Time
}

// verify gives the verdict. It does not use what signs: it reads the schemes as a receiver does, from headers alone.
func (s *Settings) verify(r request) Verdict {
	v := s.check(r)
	v.OK = v.Code == CodeValid
	v.Reason = defaultLanguage().verdict(&v)
	return v
}

func (s *Settings) check(r request) Verdict {
	scheme := s.Signing.Scheme
	if scheme == SchemeAuto || scheme == "" {
		scheme = detect(r.headers)
	}
	switch {
	case len(s.keys) == 0:
		return Verdict{Scheme: scheme, Code: CodeNoKey}
	case scheme == "":
		return Verdict{Code: CodeUnsigned}
	case scheme == sidehook.SchemeStandard:
		return checkStandard(s.keys, r)
	}
	f := s.form
	if f == nil {
		f = knownForm(scheme)
	}
	return f.check(s.keys, r)
}

// checkStandard: webhook-signature holds signatures with spaces between, of which one has to hold.
func checkStandard(keys []verifyKey, r request) Verdict {
	v := Verdict{Scheme: sidehook.SchemeStandard}
	if v.missing(r.headers, headerSignature, headerID, headerTimestamp) {
		return v
	}
	timestamp := r.headers.Get(headerTimestamp)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		v.Code, v.Headers = CodeBadTimestamp, []string{headerTimestamp}
		return v
	}
	head := r.headers.Get(headerID) + "." + timestamp + "."
	v.Signed = cut(head, maxHeaderText) + "{body}"
	v.Code = CodeMalformed
	for i, one := range strings.Fields(r.headers.Get(headerSignature)) {
		if i == maxSignatures {
			break
		}
		version, text, _ := strings.Cut(one, ",")
		signature, err := base64.StdEncoding.DecodeString(text)
		if err != nil || version != "v1" && version != "v1a" {
			continue
		}
		if v.try(keys, version, signature, head, r.body) {
			v.judgeAge(r.at, time.Unix(seconds, 0))
			return v
		}
	}
	if v.Code == CodeMalformed {
		v.Headers = []string{headerSignature}
	}
	return v
}

// try compares one signature with every key that fits its version. Where none holds, it leaves the Code that says most:
// a wrong signature before keys that do not fit.
func (v *Verdict) try(keys []verifyKey, version string, signature []byte, head string, body []byte) bool {
	if v.Version == "" || v.Code != CodeWrongSignature {
		v.Version = version
	}
	fits := false
	for i, k := range keys {
		var ok bool
		switch {
		case version == "v1" && k.secret != nil:
			mac := hmac.New(sha256.New, k.secret)
			mac.Write([]byte(head))
			mac.Write(body)
			ok = hmac.Equal(mac.Sum(nil), signature)
		case version == "v1a" && k.public != nil:
			ok = ed25519.Verify(k.public, append([]byte(head), body...), signature)
		default:
			continue
		}
		fits = true
		if ok {
			v.Version, v.Key, v.KeyKind, v.Code = version, i+1, k.kind, CodeValid
			return true
		}
	}
	switch {
	case fits:
		v.Code, v.Version = CodeWrongSignature, version
	case v.Code == CodeMalformed:
		v.Code = CodeNoFittingKey
	}
	return false
}

// check verifies one HMAC in one header.
func (f *form) check(keys []verifyKey, r request) Verdict {
	v := Verdict{Scheme: f.scheme}
	needed := []string{f.header}
	if f.timestamp != "" {
		needed = append(needed, f.timestamp)
	}
	if hasPart(f.text, sidehook.PartID) || hasPart(f.prefix, sidehook.PartID) {
		needed = append(needed, headerID)
	}
	if v.missing(r.headers, needed...) {
		return v
	}
	timestamp := r.headers.Get(f.timestamp)
	inPrefix, signature, ok := f.cutPrefix(r.headers.Get(f.header), r.headers.Get(headerID))
	if f.timestamp == "" {
		timestamp = inPrefix
	} else if f.prefixHasTime() && inPrefix != timestamp {
		ok = false
	}
	if f.list {
		signature, _, _ = strings.Cut(signature, ",")
	}
	if !ok || !f.wellFormed(signature) {
		v.Code, v.Headers = CodeMalformed, []string{f.header}
		return v
	}
	var at time.Time
	if timestamp != "" {
		n, err := strconv.ParseInt(timestamp, 10, 64)
		if err != nil {
			v.Code, v.Headers = CodeBadTimestamp, []string{f.timestampFrom()}
			return v
		}
		if at = time.Unix(n, 0); f.milliseconds {
			at = time.UnixMilli(n)
		}
	}
	before, after := f.around(timestamp, r.headers.Get(headerID))
	v.Signed = cut(before, maxHeaderText) + "{body}" + cut(after, maxHeaderText)
	f.tryKeys(&v, keys, signature, before, after, r.body)
	if v.Code == CodeValid && !at.IsZero() {
		v.judgeAge(r.at, at)
	}
	return v
}

func (f *form) tryKeys(v *Verdict, keys []verifyKey, signature, before, after string, body []byte) {
	v.Code = CodeNoFittingKey
	for i, k := range keys {
		if k.text == nil {
			continue
		}
		mac := hmac.New(f.hash, k.text)
		mac.Write([]byte(before))
		mac.Write(body)
		mac.Write([]byte(after))
		// Receivers compare the text: hex in capitals does not hold for them.
		if hmac.Equal([]byte(f.encode(mac.Sum(nil))), []byte(signature)) {
			v.Key, v.KeyKind, v.Code = i+1, k.kind, CodeValid
			return
		}
		v.Code = CodeWrongSignature
	}
}

func (f *form) timestampFrom() string {
	if f.timestamp != "" {
		return f.timestamp
	}
	return f.header
}

// cutPrefix reads what stands before the signature, and the timestamp in it.
func (f *form) cutPrefix(value, id string) (timestamp, rest string, ok bool) {
	rest = value
	for _, p := range f.prefix {
		switch p.Kind {
		case sidehook.PartText:
			rest, ok = strings.CutPrefix(rest, p.Text)
		case sidehook.PartID:
			rest, ok = strings.CutPrefix(rest, id)
		default:
			digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
			timestamp, rest, ok = rest[:digits], rest[digits:], digits > 0
		}
		if !ok {
			return "", "", false
		}
	}
	return timestamp, rest, true
}

// around is the signed text before and after the body.
func (f *form) around(timestamp, id string) (before, after string) {
	var parts [2]strings.Builder
	now := 0
	for _, p := range f.text {
		switch p.Kind {
		case sidehook.PartBody:
			now = 1
		case sidehook.PartID:
			parts[now].WriteString(id)
		case sidehook.PartText:
			parts[now].WriteString(p.Text)
		default:
			parts[now].WriteString(timestamp)
		}
	}
	return parts[0].String(), parts[1].String()
}

// missing says which of the headers are not there. Without the first, which carries the signature, and all the headers
// but webhook-id, which unsigned requests may have too, the request is unsigned.
func (v *Verdict) missing(h http.Header, names ...string) bool {
	unsigned := true
	for _, name := range names {
		switch {
		case h.Get(name) == "":
			v.Headers = append(v.Headers, strings.ToLower(name))
		case name != headerID:
			unsigned = false
		}
	}
	switch {
	case len(v.Headers) == 0:
		return false
	case unsigned:
		v.Code = CodeUnsigned
	default:
		v.Code = CodeMissingHeader
	}
	return true
}

// judgeAge turns a valid verdict into one of a time that receivers do not take.
func (v *Verdict) judgeAge(now, signed time.Time) {
	age := now.Sub(signed) // saturates, so that no number from outside is too large
	v.Age = int64(age / time.Second)
	switch {
	case age > tolerance:
		v.Code = CodeTooOld
	case age < -tolerance:
		v.Code = CodeTooNew
	}
}
