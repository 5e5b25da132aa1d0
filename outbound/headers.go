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

// Headers that every request carries, besides Host, Content-Length and User-Agent.
const (
	headerContentType = "content-type"
	headerID          = "webhook-id"
	headerTimestamp   = "webhook-timestamp"
	headerSignature   = "webhook-signature"
	headerDelivery    = "sidehook-delivery"
	headerAttempt     = "sidehook-attempt"
	headerTraceparent = "traceparent"
)

// shownSignature is how many characters of a signature are kept in the history: enough to recognise it, too few to use.
const shownSignature = 12

// sign completes the request's headers: identity, a fresh timestamp, a signature by every live secret, tracing, and
// what the format, the transformer and the webhook add. The attempt gets them with the signature shortened. It returns
// sign.ErrNoSecret when the webhook has no live secret at that moment.
func (e *Engine) sign(a *sidehook.Attempt, r *route, j *job, req *request) error {
	event := j.shared.event
	raw, err := sign.Standard(nil, r.webhook.Secrets, event.ID, a.At, req.saved.Body)
	if err != nil {
		return err
	}
	signature := string(raw)

	own := [...]sidehook.Header{
		{Key: headerContentType, Value: req.saved.ContentType},
		{Key: headerID, Value: event.ID},
		{Key: headerTimestamp, Value: strconv.FormatInt(a.At.Unix(), 10)},
		{Key: headerSignature, Value: signature},
		{Key: headerDelivery, Value: j.id.String()},
		{Key: headerAttempt, Value: strconv.Itoa(a.Number)},
		{Key: headerTraceparent, Value: traceparent(event)},
	}
	headers := make([]sidehook.Header, 0, len(own)+len(req.saved.Headers)+len(r.webhook.Headers))
	headers = append(headers, own[:]...)
	for _, h := range req.saved.Headers {
		if !hasHeader(r.webhook.Headers, h.Key) { // the operator's word counts more than a transformer's
			headers = append(headers, h)
		}
	}
	headers = append(headers, r.webhook.Headers...)
	req.headers = headers

	a.RequestHeaders = append([]sidehook.Header(nil), headers...)
	a.RequestHeaders[3].Value = signature[:min(shownSignature, len(signature))] + "…"
	return nil
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
