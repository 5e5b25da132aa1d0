package inbox

import (
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sidehook/sidehook"
)

// Settings say what a bin verifies against and how it answers. The zero value verifies nothing and answers 200.
type Settings struct {
	// Title is what people call the bin; its address stays. At most 80 characters; default its name.
	Title string `json:"title"`
	// Secrets to verify against; a signature that one of them made is good. Each is what sidehook.ImportKey reads
	// (whsec_…, whsk_…, plain text) or whpk_…, the public key of a pair. At most 8.
	Secrets []string `json:"secrets"`
	// Signing says which scheme to verify; default by the headers that are there.
	Signing Signing `json:"signing"`
	// Status of answers, 200 to 599; default 200.
	Status int `json:"status"`
	// Body of answers, of the type ContentType (default text/plain); default a word of JSON about the arrival.
	Body        string `json:"body"`
	ContentType string `json:"content_type"`
	// FailFirst is how many arrivals are answered with FailStatus before they are answered with Status; -1: all.
	FailFirst int `json:"fail_first"`
	// FailStatus is the status of those, 300 to 599; default 503.
	FailStatus int `json:"fail_status"`
	// RetryAfter, when set, is sent as Retry-After with every status from 300: seconds or an HTTP date.
	RetryAfter string `json:"retry_after"`
	// Delay before each answer, as in "200ms"; at most MaxDelay.
	Delay string `json:"delay"`

	keys  []verifyKey   // Secrets
	form  *form         // Signing, when it is sidehook.SchemeHMAC
	delay time.Duration // Delay
}

const defaultContentType = "text/plain; charset=utf-8"

// defaults are the settings of a bin that was given none.
func defaults() Settings {
	return Settings{Status: http.StatusOK, FailStatus: http.StatusServiceUnavailable, Signing: Signing{Scheme: SchemeAuto}}
}

// clone makes a copy that shares nothing that could be written to.
func (s *Settings) clone() Settings {
	c := *s
	c.Secrets = slices.Clone(s.Secrets)
	return c
}

// validate checks the settings and fills the defaults. It returns a *sidehook.FieldError.
func (s *Settings) validate() error {
	for _, check := range []func() error{s.checkTitle, s.checkKeys, s.checkStatuses, s.checkBody, s.checkDelay} {
		if err := check(); err != nil {
			return err
		}
	}
	var err error
	s.form, err = s.Signing.ready()
	return err
}

func (s *Settings) checkTitle() error {
	s.Title = strings.TrimSpace(s.Title)
	if utf8.RuneCountInString(s.Title) > maxTitle || strings.ContainsFunc(s.Title, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return sidehook.Fieldf("title", "must be at most %d printable characters", maxTitle)
	}
	return nil
}

func (s *Settings) checkKeys() error {
	if len(s.Secrets) > maxSecrets {
		return sidehook.Fieldf("secrets", "must be at most %d", maxSecrets)
	}
	s.keys = nil
	for i, secret := range s.Secrets {
		k, err := parseKey(secret)
		if err != nil {
			return sidehook.Fieldf("secrets", "key %d %v", i+1, err)
		}
		s.keys = append(s.keys, k)
	}
	return nil
}

func (s *Settings) checkStatuses() error {
	if s.Status == 0 {
		s.Status = http.StatusOK
	}
	if s.Status < 200 || s.Status > 599 {
		return sidehook.Fieldf("status", "must be 200 to 599; those below 200 do not end a request")
	}
	if s.FailFirst < -1 {
		return sidehook.Fieldf("fail_first", "must be 0 or more, or -1 for all")
	}
	if s.FailStatus == 0 {
		s.FailStatus = http.StatusServiceUnavailable
	}
	if s.FailStatus < 300 || s.FailStatus > 599 {
		return sidehook.Fieldf("fail_status", "must be 300 to 599; those below 300 are no failure")
	}
	if len(s.RetryAfter) > 64 || !isPlain(s.RetryAfter) {
		return sidehook.Fieldf("retry_after", "must be seconds or an HTTP date")
	}
	return nil
}

func (s *Settings) checkBody() error {
	if len(s.Body) > maxAnswer {
		return sidehook.Fieldf("body", "must be at most %d bytes", maxAnswer)
	}
	if s.ContentType == "" {
		return nil
	}
	kind, _, err := mime.ParseMediaType(s.ContentType)
	if err != nil || !strings.Contains(kind, "/") || len(s.ContentType) > 128 || !isPlain(s.ContentType) {
		return sidehook.Fieldf("content_type", "must be a media type such as application/json")
	}
	return nil
}

func (s *Settings) checkDelay() error {
	s.delay = 0
	if s.Delay == "" {
		return nil
	}
	d, err := time.ParseDuration(s.Delay)
	if err != nil || d < 0 || d > MaxDelay {
		return sidehook.Fieldf("delay", "must be a duration such as 200ms or 5s, at most %v", MaxDelay)
	}
	s.delay = d
	return nil
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
