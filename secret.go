package sidehook

import (
	"strconv"
	"time"
)

// Secret is key material of a webhook with its validity window. A webhook has several while one rotates. Under the
// standard schemes every live one signs; the others have room for one signature, see Signing.
type Secret struct {
	App     string
	Webhook string
	ID      string // unique within the webhook
	Key     Key
	// NotBefore and NotAfter bound when it signs; zero for no bound.
	NotBefore time.Time
	NotAfter  time.Time
}

// Live reports whether the secret signs at t: NotBefore <= t < NotAfter.
func (s *Secret) Live(t time.Time) bool {
	return !t.Before(s.NotBefore) && (s.NotAfter.IsZero() || t.Before(s.NotAfter))
}

// Validate checks the secret and returns a *FieldError.
func (s *Secret) Validate() error {
	switch {
	case !ValidName(s.App):
		return Fieldf("app", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxNameLen)
	case !ValidName(s.Webhook):
		return Fieldf("webhook", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxNameLen)
	case !ValidName(s.ID):
		return Fieldf("id", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxNameLen)
	case !s.NotAfter.IsZero() && !s.NotAfter.After(s.NotBefore):
		return Fieldf("not_after", "must be later than not_before")
	}
	return s.Key.validate()
}

func itoa(i int) string { return strconv.Itoa(i) }
