package sign

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sidehook/sidehook"
)

// Errors of a Signer that can sign nothing now.
var (
	// ErrNoSecret: none of the secrets is live.
	ErrNoSecret = errors.New("no live secret: none was given, or all are expired or not yet valid")
	// ErrWrongKind: there are live secrets, but none of a kind that the signing scheme takes.
	ErrWrongKind = errors.New("no live secret fits the signing scheme: give the webhook one that does")
)

// Request is what a signature is about.
type Request struct {
	ID   string    // value of webhook-id
	At   time.Time // when the attempt is made
	Body []byte    // the exact bytes sent
}

// Signer signs the requests of one webhook. It is immutable and safe for concurrent use.
type Signer struct {
	secrets []secret
	hmac    *hmacScheme // nil for Standard Webhooks
}

// secret is a secret made ready.
type secret struct {
	sidehook.Secret
	fits bool               // the scheme takes keys of its kind
	key  []byte             // what HMAC is keyed with
	pair ed25519.PrivateKey // nil when it is no key pair
}

// New makes the signer of a webhook, which must have passed its Validate, and its secrets. Secrets of a kind that the
// scheme does not take are not used.
func New(w *sidehook.Webhook, secrets []sidehook.Secret) (*Signer, error) {
	s := &Signer{secrets: make([]secret, len(secrets))}
	switch scheme := w.Scheme(); scheme {
	case sidehook.SchemeStandard, sidehook.SchemeStandardEd25519:
	case sidehook.SchemeTwenty:
		s.hmac = newTwenty()
	case sidehook.SchemeHMAC:
		var err error
		if s.hmac, err = newHMAC(&w.Signing); err != nil {
			return nil, sidehook.Under("signing", err)
		}
	default:
		return nil, sidehook.Fieldf("signing.scheme", "%.40q is not built in", scheme)
	}
	for i := range secrets {
		s.secrets[i] = prepare(w, secrets[i], s.hmac != nil)
	}
	return s, nil
}

func prepare(w *sidehook.Webhook, given sidehook.Secret, asText bool) secret {
	s := secret{Secret: given, fits: w.Takes(given.Key) == nil, key: given.Key.Bytes()}
	switch {
	case !s.fits:
	case asText:
		s.key = []byte(given.Key.Reveal())
	case given.Key.Kind() == sidehook.KeyEd25519:
		s.pair = ed25519.NewKeyFromSeed(given.Key.Bytes())
	}
	return s
}

// Headers appends the headers that carry the signature, made afresh, and returns which of the result it is: what must
// not be shown whole. It fails with ErrNoSecret or ErrWrongKind.
func (s *Signer) Headers(dst []sidehook.Header, r *Request) (headers []sidehook.Header, signature int, err error) {
	if s.hmac == nil {
		return s.standard(dst, r)
	}
	chosen := s.endsFirst(r.At)
	if chosen == nil {
		return dst, 0, s.nothingSigns(r.At)
	}
	headers = s.hmac.headers(dst, chosen.key, r)
	return headers, len(dst), nil
}

// standard signs with every live secret, in the order given, so that a receiver that knows any of them can verify while
// one rotates.
func (s *Signer) standard(dst []sidehook.Header, r *Request) ([]sidehook.Header, int, error) {
	var room [256]byte // two signatures of HMAC, or two of Ed25519
	value, ts := room[:0], r.At.Unix()
	for i := range s.secrets {
		one := &s.secrets[i]
		if !one.fits || !one.Live(r.At) {
			continue
		}
		if len(value) > 0 {
			value = append(value, ' ')
		}
		if one.pair != nil {
			value = V1a(value, one.pair, r.ID, ts, r.Body)
		} else {
			value = V1(value, one.key, r.ID, ts, r.Body)
		}
	}
	if len(value) == 0 {
		return dst, 0, s.nothingSigns(r.At)
	}
	dst = append(dst,
		sidehook.Header{Key: HeaderTimestamp, Value: strconv.FormatInt(ts, 10)},
		sidehook.Header{Key: HeaderSignature, Value: string(value)})
	return dst, len(dst) - 1, nil
}

// endsFirst returns the live secret that ends first, nil for none: see sidehook.Signing.
func (s *Signer) endsFirst(at time.Time) *secret {
	var first *secret
	for i := range s.secrets {
		one := &s.secrets[i]
		if !one.fits || !one.Live(at) {
			continue
		}
		if first == nil || !one.NotAfter.IsZero() && (first.NotAfter.IsZero() || one.NotAfter.Before(first.NotAfter)) {
			first = one
		}
	}
	return first
}

func (s *Signer) nothingSigns(at time.Time) error {
	for i := range s.secrets {
		if s.secrets[i].Live(at) {
			return fmt.Errorf("secret %s: %w", s.secrets[i].ID, ErrWrongKind)
		}
	}
	return ErrNoSecret
}
