package inbox

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"strings"

	"github.com/sidehook/sidehook"
)

// Schemes that a bin recognises by their headers besides those of sidehook.Schemes.
const (
	SchemeAuto    = "auto" // by the headers that are there; the default
	SchemeGitHub  = "github"
	SchemeStripe  = "stripe"
	SchemeSlack   = "slack"
	SchemeShopify = "shopify"
)

// Signing says how arrivals should be signed; its fields are those of a webhook's signing. Scheme is SchemeAuto, one of
// sidehook.Schemes, or the name of a product; what follows is for sidehook.SchemeHMAC alone.
type Signing struct {
	Scheme          string `json:"scheme"`
	Algorithm       string `json:"algorithm,omitempty"`
	Encoding        string `json:"encoding,omitempty"`
	Header          string `json:"header,omitempty"`
	Prefix          string `json:"prefix,omitempty"`
	Template        string `json:"template,omitempty"`
	TimestampHeader string `json:"timestamp_header,omitempty"`
}

// form is a scheme with one HMAC in a header.
type form struct {
	scheme       string
	hash         func() hash.Hash
	encoding     string
	header       string
	prefix, text []sidehook.TemplatePart
	timestamp    string // name of the header, empty for none
	milliseconds bool
	list         bool // what follows a comma is another signature, as Stripe has it
}

// known are the schemes of products, from their public documentation, in the order in which they are looked for.
var known = []struct {
	scheme string
	sidehook.Signing
}{
	{sidehook.SchemeTwenty, sidehook.Signing{
		Header: sidehook.HeaderTwentySignature, Template: "{timestamp_ms}:{body}", TimestampHeader: sidehook.HeaderTwentyTimestamp,
	}},
	{SchemeGitHub, sidehook.Signing{Header: "X-Hub-Signature-256", Prefix: "sha256=", Template: "{body}"}},
	{SchemeStripe, sidehook.Signing{Header: "Stripe-Signature", Prefix: "t={timestamp},v1=", Template: "{timestamp}.{body}"}},
	{SchemeSlack, sidehook.Signing{
		Header: "X-Slack-Signature", Prefix: "v0=", Template: "v0:{timestamp}:{body}", TimestampHeader: "X-Slack-Request-Timestamp",
	}},
	{SchemeShopify, sidehook.Signing{Header: "X-Shopify-Hmac-Sha256", Encoding: sidehook.EncodingBase64, Template: "{body}"}},
}

// schemes lists what Signing.Scheme may be, in the order of the page.
func schemes() []string {
	names := []string{SchemeAuto, sidehook.SchemeStandard}
	for _, k := range known {
		names = append(names, k.scheme)
	}
	return append(names, sidehook.SchemeHMAC)
}

// knownForm is the scheme of a product, nil when there is none of that name.
func knownForm(scheme string) *form {
	for _, k := range known {
		if k.scheme != scheme {
			continue
		}
		f, err := newForm(scheme, k.Signing)
		if err != nil {
			panic("inbox: " + scheme + ": " + err.Error()) // a constant of this file is wrong
		}
		f.list = scheme == SchemeStripe
		return f
	}
	return nil
}

// detect finds the scheme by the header that carries its signature; empty when there is none.
func detect(h http.Header) string {
	if h.Get(headerSignature) != "" {
		return sidehook.SchemeStandard
	}
	for _, k := range known {
		if h.Get(k.Header) != "" {
			return k.scheme
		}
	}
	return ""
}

// ready checks the settings, fills the defaults, and returns the form of SchemeHMAC, nil for others. It returns a
// *sidehook.FieldError of the field signing.….
func (s *Signing) ready() (*form, error) {
	switch s.Scheme {
	case "":
		s.Scheme = SchemeAuto
	case sidehook.SchemeStandardEd25519:
		s.Scheme = sidehook.SchemeStandard // the signature says which of the two it is
	}
	if s.Scheme != sidehook.SchemeHMAC {
		if (*s != Signing{Scheme: s.Scheme}) {
			return nil, sidehook.Fieldf("signing.scheme", "must be %s when other fields of signing are given", sidehook.SchemeHMAC)
		}
		for _, name := range schemes() {
			if s.Scheme == name {
				return nil, nil
			}
		}
		return nil, sidehook.Fieldf("signing.scheme", "must be one of %s", strings.Join(schemes(), ", "))
	}
	// A webhook with these settings must be valid: the rules for them stand there.
	w := sidehook.Webhook{
		App: "inbox", ID: "bin", Name: "bin", URL: "http://127.0.0.1/", Events: []string{"*"}, Signing: sidehook.Signing(*s),
	}
	w.Normalize()
	if err := w.Validate(); err != nil {
		return nil, err
	}
	*s = Signing(w.Signing)
	f, err := newForm(s.Scheme, w.Signing)
	if err != nil {
		return nil, err
	}
	return f, f.checkTime()
}

func newForm(scheme string, s sidehook.Signing) (*form, error) {
	f := &form{scheme: scheme, hash: sha256.New, encoding: s.Encoding, header: s.Header, timestamp: s.TimestampHeader}
	if s.Algorithm == sidehook.AlgorithmSHA512 {
		f.hash = sha512.New
	}
	var err error
	if f.text, err = sidehook.ParseTemplate(s.Template); err != nil {
		return nil, sidehook.Under("signing.template", err)
	}
	if f.prefix, err = sidehook.ParseTemplate(s.Prefix); err != nil {
		return nil, sidehook.Under("signing.prefix", err)
	}
	f.milliseconds = hasPart(f.text, sidehook.PartTimestampMS) || hasPart(f.prefix, sidehook.PartTimestampMS)
	return f, nil
}

// checkTime: a time that is signed must also be sent, or nobody can verify.
func (f *form) checkTime() error {
	signed := hasPart(f.text, sidehook.PartTimestamp) || hasPart(f.text, sidehook.PartTimestampMS)
	if signed && f.timestamp == "" && !f.prefixHasTime() {
		return sidehook.Fieldf("signing.timestamp_header", "is required: template signs the time, which must come in a header or in prefix")
	}
	return nil
}

func (f *form) prefixHasTime() bool {
	return hasPart(f.prefix, sidehook.PartTimestamp) || hasPart(f.prefix, sidehook.PartTimestampMS)
}

func (f *form) encode(sum []byte) string {
	if f.encoding == sidehook.EncodingBase64 {
		return base64.StdEncoding.EncodeToString(sum)
	}
	return hex.EncodeToString(sum)
}

// wellFormed tells whether text could be a signature at all.
func (f *form) wellFormed(text string) bool {
	var sum []byte
	var err error
	if f.encoding == sidehook.EncodingBase64 {
		sum, err = base64.StdEncoding.DecodeString(text)
	} else {
		sum, err = hex.DecodeString(text)
	}
	return err == nil && len(sum) == f.hash().Size()
}

func hasPart(parts []sidehook.TemplatePart, kind sidehook.TemplateKind) bool {
	for _, p := range parts {
		if p.Kind == kind {
			return true
		}
	}
	return false
}

// withoutField takes the field from a *sidehook.FieldError, for a caller that names it otherwise.
func withoutField(err error) error {
	var fe *sidehook.FieldError
	if !errors.As(err, &fe) {
		return err
	}
	return &sidehook.FieldError{Reason: fe.Reason}
}
