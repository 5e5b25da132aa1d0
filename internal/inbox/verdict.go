package inbox

// Code says what a verdict is, for programs; Reason says it to people.
type Code string

// The codes.
const (
	CodeValid          Code = "valid"
	CodeNoKey          Code = "no_key"          // the bin has no key, so nothing was checked
	CodeUnsigned       Code = "unsigned"        // no header of a signature is there
	CodeMissingHeader  Code = "missing_header"  // some of the scheme's headers are there, Headers are not
	CodeMalformed      Code = "malformed"       // the header Headers[0] does not have the scheme's form
	CodeBadTimestamp   Code = "bad_timestamp"   // the header Headers[0] has no time in it
	CodeNoFittingKey   Code = "no_fitting_key"  // the bin's keys are of kinds that the scheme does not take
	CodeWrongSignature Code = "wrong_signature" // no key makes this signature of Signed
	CodeTooOld         Code = "too_old"         // the signature holds, its time is too long ago
	CodeTooNew         Code = "too_new"         // the signature holds, its time is ahead
)

// Codes lists the codes.
func Codes() []Code {
	return []Code{
		CodeValid, CodeNoKey, CodeUnsigned, CodeMissingHeader, CodeMalformed, CodeBadTimestamp, CodeNoFittingKey,
		CodeWrongSignature, CodeTooOld, CodeTooNew,
	}
}

// Verdict says whether the signature of an arrival holds.
//
// It never holds a signature that would have been right: whoever can send to a bin could have the inbox sign for them.
type Verdict struct {
	// Scheme that was looked for; empty when none was recognised.
	Scheme string `json:"scheme"`
	// Version of the signature under Standard Webhooks: v1 or v1a.
	Version string `json:"version,omitempty"`
	OK      bool   `json:"ok"`
	Code    Code   `json:"code"`
	// Reason, in plain English.
	Reason string `json:"reason"`
	// Key that made the signature, counted from 1; 0 for none.
	Key int `json:"key,omitempty"`
	// KeyKind is how the text of that key starts, or "text".
	KeyKind string `json:"key_kind,omitempty"`
	// Headers that are missing or malformed.
	Headers []string `json:"headers,omitempty"`
	// Signed is the text that should have been signed, with {body} in place of the body.
	Signed string `json:"signed,omitempty"`
	// Age of the timestamp in seconds when it arrived, below 0 when it was ahead; 0 when there is none.
	Age int64 `json:"age,omitempty"`
}

// checked tells whether anything was verified.
func (v *Verdict) checked() bool { return v.Code != CodeNoKey }
