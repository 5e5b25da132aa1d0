package sidehook

import (
	"errors"
	"slices"
	"strings"
)

// Signing says how the requests of a webhook are signed.
//
// Under the standard schemes every live secret signs, in one header. The other schemes have room for one signature:
// while a secret rotates, the live one that ends first signs, so that a receiver is given the new secret at any time
// during the overlap and sees it used when the overlap ends.
type Signing struct {
	// Scheme: empty for what the webhook's format has; see Webhook.Scheme.
	Scheme string

	// All that follows is for SchemeHMAC alone.

	// Algorithm: AlgorithmSHA256 (default) or AlgorithmSHA512.
	Algorithm string
	// Encoding of the signature: EncodingHex (default) or EncodingBase64.
	Encoding string
	// Header that carries the signature; required.
	Header string
	// Prefix stands before the signature in the header, as in "sha256="; a template without {body}.
	Prefix string
	// Template makes the text that is signed; see ParseTemplate. Default "{body}".
	Template string
	// TimestampHeader, if any, carries the time of the attempt: in milliseconds when Template or Prefix has
	// {timestamp_ms}, else in seconds.
	TimestampHeader string
}

// Schemes of signatures.
const (
	// SchemeStandard is Standard Webhooks: v1 (HMAC-SHA256) by symmetric keys, v1a (Ed25519) by key pairs. New secrets
	// are symmetric.
	SchemeStandard = "standard"
	// SchemeStandardEd25519 is SchemeStandard whose new secrets are key pairs.
	SchemeStandardEd25519 = "standard-ed25519"
	// SchemeTwenty is that of Twenty: hex HMAC-SHA256 over timestamp:body with the timestamp in milliseconds.
	SchemeTwenty = "twenty"
	// SchemeHMAC is HMAC as the other fields of Signing say, to meet a receiver as it is.
	SchemeHMAC = "hmac"
)

// Schemes lists the schemes.
func Schemes() []string {
	return []string{SchemeStandard, SchemeStandardEd25519, SchemeTwenty, SchemeHMAC}
}

// Values of Signing's fields.
const (
	AlgorithmSHA256 = "sha256"
	AlgorithmSHA512 = "sha512"
	EncodingHex     = "hex"
	EncodingBase64  = "base64"

	DefaultSigningTemplate = "{body}"
	MaxSigningTemplate     = 256 // bytes
	MaxSigningPrefix       = 64  // bytes
)

// Headers of SchemeTwenty.
const (
	HeaderTwentySignature = "X-Twenty-Webhook-Signature"
	HeaderTwentyTimestamp = "X-Twenty-Webhook-Timestamp"
	HeaderTwentyNonce     = "X-Twenty-Webhook-Nonce"
)

// Scheme returns the scheme in force: what Signing says, or else the one of the format.
func (w *Webhook) Scheme() string {
	switch {
	case w.Signing.Scheme != "":
		return w.Signing.Scheme
	case w.Format == FormatTwenty:
		return SchemeTwenty
	}
	return SchemeStandard
}

// NewKey makes a key of the kind that new secrets of the webhook have.
func (w *Webhook) NewKey() Key {
	if w.Scheme() == SchemeStandardEd25519 {
		return NewEd25519Key()
	}
	return NewKey()
}

// Takes checks that a key can sign for the webhook. A symmetric key always can: outside the standard schemes its text
// form whsec_… is the key, as receivers know no other. It returns a *FieldError of the field key.
func (w *Webhook) Takes(k Key) error {
	switch scheme := w.Scheme(); {
	case k.Kind() == KeyText && standardScheme(scheme):
		return Fieldf("key", "must start with %s under the signing scheme %s; plain text is for %s and %s", SecretPrefix, scheme,
			SchemeTwenty, SchemeHMAC)
	case k.Kind() == KeyEd25519 && !standardScheme(scheme):
		return Fieldf("key", "must not be an Ed25519 key under the signing scheme %s; give a %s key or plain text", scheme,
			SecretPrefix)
	}
	return nil
}

func standardScheme(scheme string) bool {
	return scheme == SchemeStandard || scheme == SchemeStandardEd25519
}

// normalize fills the defaults of SchemeHMAC.
func (s *Signing) normalize() {
	if s.Scheme != SchemeHMAC {
		return
	}
	if s.Algorithm == "" {
		s.Algorithm = AlgorithmSHA256
	}
	if s.Encoding == "" {
		s.Encoding = EncodingHex
	}
	if s.Template == "" {
		s.Template = DefaultSigningTemplate
	}
}

// validate checks normalized settings and returns a *FieldError relative to them.
func (s *Signing) validate() error {
	if s.Scheme != "" && !slices.Contains(Schemes(), s.Scheme) {
		return Fieldf("scheme", "must be one of %s", strings.Join(Schemes(), ", "))
	}
	if s.Scheme != SchemeHMAC {
		return s.validateUnused()
	}
	switch {
	case s.Algorithm != AlgorithmSHA256 && s.Algorithm != AlgorithmSHA512:
		return Fieldf("algorithm", "must be %s or %s", AlgorithmSHA256, AlgorithmSHA512)
	case s.Encoding != EncodingHex && s.Encoding != EncodingBase64:
		return Fieldf("encoding", "must be %s or %s", EncodingHex, EncodingBase64)
	case s.Header == "":
		return Fieldf("header", "is required: the name of the header that carries the signature")
	case strings.EqualFold(s.Header, s.TimestampHeader):
		return Fieldf("timestamp_header", "must not be the header of the signature")
	}
	if err := validateSigningHeader("header", s.Header); err != nil {
		return err
	}
	if s.TimestampHeader != "" {
		if err := validateSigningHeader("timestamp_header", s.TimestampHeader); err != nil {
			return err
		}
	}
	return s.validateTemplates()
}

func (s *Signing) validateUnused() error {
	for _, f := range []struct{ name, value string }{
		{"algorithm", s.Algorithm},
		{"encoding", s.Encoding},
		{"header", s.Header},
		{"prefix", s.Prefix},
		{"template", s.Template},
		{"timestamp_header", s.TimestampHeader},
	} {
		if f.value != "" {
			return Fieldf(f.name, "is for the scheme %s alone", SchemeHMAC)
		}
	}
	return nil
}

func validateSigningHeader(field, name string) error {
	var fe *FieldError
	if err := ValidateHeader(Header{Key: name}); errors.As(err, &fe) {
		return fe.At(field)
	}
	return nil
}

func (s *Signing) validateTemplates() error {
	if len(s.Template) > MaxSigningTemplate {
		return Fieldf("template", "must be at most %d bytes", MaxSigningTemplate)
	}
	if len(s.Prefix) > MaxSigningPrefix {
		return Fieldf("prefix", "must be at most %d bytes", MaxSigningPrefix)
	}
	parts, err := ParseTemplate(s.Template)
	if err != nil {
		return Under("template", err)
	}
	prefix, err := ParseTemplate(s.Prefix)
	if err != nil {
		return Under("prefix", err)
	}
	both := slices.Concat(parts, prefix)
	switch {
	case countParts(parts, PartBody) != 1:
		return Fieldf("template", "must have {body} once, or the signature does not cover what is sent")
	case countParts(prefix, PartBody) > 0:
		return Fieldf("prefix", "must not have {body}, which is no text for a header")
	case countParts(both, PartTimestamp) > 0 && countParts(both, PartTimestampMS) > 0:
		return Fieldf("template", "must not mix {timestamp} and {timestamp_ms}")
	}
	return validatePrefix(prefix)
}

func countParts(parts []TemplatePart, kind TemplateKind) (n int) {
	for _, p := range parts {
		if p.Kind == kind {
			n++
		}
	}
	return n
}

// validatePrefix keeps the header legal: visible ASCII, spaces only inside.
func validatePrefix(parts []TemplatePart) error {
	for i, p := range parts {
		if p.Kind != PartText {
			continue
		}
		if !isVisibleASCII(strings.ReplaceAll(p.Text, " ", "_")) || i == 0 && strings.HasPrefix(p.Text, " ") {
			return Fieldf("prefix", "must be ASCII without control characters and without a space at its start")
		}
	}
	return nil
}

// signingHeaders lists the headers that the scheme in force sets, which the webhook's own may not be.
func (w *Webhook) signingHeaders() []string {
	switch w.Scheme() {
	case SchemeTwenty:
		return []string{HeaderTwentySignature, HeaderTwentyTimestamp, HeaderTwentyNonce}
	case SchemeHMAC:
		return []string{w.Signing.Header, w.Signing.TimestampHeader}
	}
	return nil // webhook-* is reserved for all
}

// TemplateKind is what a part of a template stands for.
type TemplateKind uint8

// The kinds of parts.
const (
	PartText        TemplateKind = iota // itself
	PartID                              // {id}: the value of webhook-id
	PartTimestamp                       // {timestamp}: the attempt's time in seconds since 1970
	PartTimestampMS                     // {timestamp_ms}: the same in milliseconds
	PartBody                            // {body}: the exact bytes sent
)

var templateParts = map[string]TemplateKind{
	"id": PartID, "timestamp": PartTimestamp, "timestamp_ms": PartTimestampMS, "body": PartBody,
}

// TemplatePart is a part of a parsed template.
type TemplatePart struct {
	Kind TemplateKind
	Text string // of PartText
}

// ParseTemplate reads the template of a text to sign: literal text with {id}, {timestamp}, {timestamp_ms} and {body} in
// it; {{ and }} stand for single braces. It returns a *FieldError without a field.
func ParseTemplate(s string) ([]TemplatePart, error) {
	if !isText(s) {
		return nil, Fieldf("", "must be UTF-8 without control characters")
	}
	var parts []TemplatePart
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			parts = append(parts, TemplatePart{Kind: PartText, Text: text.String()})
			text.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '{' && c != '}' {
			text.WriteByte(c)
			continue
		}
		if i+1 < len(s) && s[i+1] == c {
			text.WriteByte(c)
			i++
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if c == '}' || end < 0 {
			return nil, Fieldf("", "has a brace without its pair; {{ and }} stand for single braces")
		}
		name := s[i+1 : i+end]
		kind, ok := templateParts[name]
		if !ok {
			return nil, Fieldf("", "{%.40s} is not known; known are {id}, {timestamp}, {timestamp_ms} and {body}", name)
		}
		flush()
		parts = append(parts, TemplatePart{Kind: kind})
		i += end
	}
	flush()
	return parts, nil
}
