package sign

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strconv"

	"github.com/sidehook/sidehook"
)

// hmacScheme is HMAC with one signature in a header of any name: what products had before Standard Webhooks.
type hmacScheme struct {
	hash            func() hash.Hash
	base64          bool // else hex
	header          string
	prefix, text    []sidehook.TemplatePart
	timestampHeader string // empty for none
	milliseconds    bool   // of timestampHeader
	nonceHeader     string // empty for none
}

// nonceLen is the length of a nonce in bytes, as Twenty has it.
const nonceLen = 16

// newHMAC makes the scheme of normalized settings.
func newHMAC(s *sidehook.Signing) (*hmacScheme, error) {
	scheme := &hmacScheme{
		hash: sha256.New, base64: s.Encoding == sidehook.EncodingBase64, header: s.Header, timestampHeader: s.TimestampHeader,
	}
	if s.Algorithm == sidehook.AlgorithmSHA512 {
		scheme.hash = sha512.New
	}
	var err error
	if scheme.text, err = sidehook.ParseTemplate(s.Template); err != nil {
		return nil, sidehook.Under("template", err)
	}
	if scheme.prefix, err = sidehook.ParseTemplate(s.Prefix); err != nil {
		return nil, sidehook.Under("prefix", err)
	}
	for _, parts := range [][]sidehook.TemplatePart{scheme.text, scheme.prefix} {
		for _, p := range parts {
			scheme.milliseconds = scheme.milliseconds || p.Kind == sidehook.PartTimestampMS
		}
	}
	return scheme, nil
}

// newTwenty makes the scheme of Twenty. The nonce is not signed.
func newTwenty() *hmacScheme {
	return &hmacScheme{
		hash: sha256.New, header: sidehook.HeaderTwentySignature, timestampHeader: sidehook.HeaderTwentyTimestamp,
		milliseconds: true, nonceHeader: sidehook.HeaderTwentyNonce,
		text: []sidehook.TemplatePart{
			{Kind: sidehook.PartTimestampMS}, {Kind: sidehook.PartText, Text: ":"}, {Kind: sidehook.PartBody},
		},
	}
}

// headers appends the signature's header first, then those of the timestamp and the nonce.
func (h *hmacScheme) headers(dst []sidehook.Header, key []byte, r *Request) []sidehook.Header {
	mac := hmac.New(h.hash, key)
	for _, p := range h.text {
		if p.Kind == sidehook.PartBody {
			mac.Write(r.Body)
		} else {
			mac.Write([]byte(textOf(p, r)))
		}
	}
	var value []byte
	for _, p := range h.prefix {
		value = append(value, textOf(p, r)...)
	}
	if sum := mac.Sum(nil); h.base64 {
		value = base64.StdEncoding.AppendEncode(value, sum)
	} else {
		value = hex.AppendEncode(value, sum)
	}
	dst = append(dst, sidehook.Header{Key: h.header, Value: string(value)})
	if h.timestampHeader != "" {
		p := sidehook.TemplatePart{Kind: sidehook.PartTimestamp}
		if h.milliseconds {
			p.Kind = sidehook.PartTimestampMS
		}
		dst = append(dst, sidehook.Header{Key: h.timestampHeader, Value: textOf(p, r)})
	}
	if h.nonceHeader != "" {
		var nonce [nonceLen]byte
		_, _ = rand.Read(nonce[:]) // documented never to fail
		dst = append(dst, sidehook.Header{Key: h.nonceHeader, Value: hex.EncodeToString(nonce[:])})
	}
	return dst
}

// textOf is what a part other than the body stands for.
func textOf(p sidehook.TemplatePart, r *Request) string {
	switch p.Kind {
	case sidehook.PartID:
		return r.ID
	case sidehook.PartTimestamp:
		return strconv.FormatInt(r.At.Unix(), 10)
	case sidehook.PartTimestampMS:
		return strconv.FormatInt(r.At.UnixMilli(), 10)
	}
	return p.Text
}
