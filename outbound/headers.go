package outbound

import (
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/sign"
)

// Headers that every request carries, besides Host, Content-Length, User-Agent and the signature's.
const (
	headerContentType = "content-type"
	headerDelivery    = "sidehook-delivery"
	headerAttempt     = "sidehook-attempt"
	headerTraceparent = "traceparent"
)

// shownSignature is how many characters of a signature are kept in the history: enough to recognise it, too few to use.
const shownSignature = 12

// sign completes the request's headers: identity, a fresh timestamp and signature, tracing, and what the format, the
// transformer and the webhook add. webhook-id stands beside every scheme, so that any receiver can tell a repeated
// delivery. It fails as sign.Signer does when none of the webhook's secrets can sign at that moment.
func (e *Engine) sign(a *sidehook.Attempt, r *route, j *job, req *request) error {
	const ownMost = 8
	event := j.shared.event
	headers := make([]sidehook.Header, 0, ownMost+len(req.saved.Headers)+len(r.webhook.Headers))
	if req.saved.ContentType != "" { // there is a body
		headers = append(headers, sidehook.Header{Key: headerContentType, Value: req.saved.ContentType})
	}
	headers = append(headers, sidehook.Header{Key: sign.HeaderID, Value: event.ID})
	first := len(headers)
	headers, signature, err := r.signer.Headers(headers, &sign.Request{ID: event.ID, At: a.At, Body: req.saved.Body})
	if err != nil {
		return err
	}
	signed := headers[first:]
	headers = append(headers,
		sidehook.Header{Key: headerDelivery, Value: j.id.String()},
		sidehook.Header{Key: headerAttempt, Value: strconv.Itoa(a.Number)},
		sidehook.Header{Key: headerTraceparent, Value: traceparent(event)})
	for _, h := range req.saved.Headers {
		// The signature counts most, then the operator's word, then a transformer's.
		if !hasHeader(signed, h.Key) && !hasHeader(r.webhook.Headers, h.Key) {
			headers = append(headers, h)
		}
	}
	headers = append(headers, r.webhook.Headers...)
	req.headers, req.signature = headers, signature
	return nil
}

// sent gives away the headers of a request that was made, with the signature shortened, for the history. They are the same
// slice, a fifth of all the memory that a delivery takes, so nothing may send them any more.
func (req *request) sent() []sidehook.Header {
	headers := req.headers
	req.headers = nil
	whole := headers[req.signature].Value
	headers[req.signature].Value = whole[:min(shownSignature, len(whole))] + "…"
	return headers
}

func hasHeader(headers []sidehook.Header, key string) bool {
	for _, h := range headers {
		if strings.EqualFold(h.Key, key) {
			return true
		}
	}
	return false
}

// traceparent continues the event's trace (W3C Trace Context, section 3.2) in a span of its own, or starts one.
func traceparent(event *sidehook.Event) string {
	var b [55]byte
	parent := event.Extensions[headerTraceparent]
	if validTraceparent(parent) {
		copy(b[:], parent)
	} else {
		copy(b[:], "00-")
		writeHex(b[3:19], rand.Uint64())
		writeHex(b[19:35], rand.Uint64()|1) // a trace id of zeros is invalid
		b[35] = '-'
		copy(b[52:], "-01")
	}
	writeHex(b[36:52], rand.Uint64()|1)
	return string(b[:])
}

func writeHex(dst []byte, v uint64) {
	var raw [8]byte
	for i := range raw {
		raw[i] = byte(v >> (56 - 8*i))
	}
	hex.Encode(dst, raw[:])
}

// validTraceparent accepts version 00 only: 00-<32 hex>-<16 hex>-<2 hex>, lower case.
func validTraceparent(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	for i := 3; i < len(s); i++ {
		if c := s[i]; i != 35 && i != 52 && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// statusText says what a status that is not a success means, in plain words.
func statusText(status int) string {
	text := strconv.Itoa(status)
	if t := http.StatusText(status); t != "" {
		text += " " + t
	}
	if status >= 300 && status < 400 {
		return text + " (redirects are not followed)"
	}
	return text
}
