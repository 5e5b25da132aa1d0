package multisite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Bounds, as those of the product's own table.
const (
	minName        = 2
	maxName        = 191
	minIntegration = 2
	maxIntegration = 191
)

// input is what a caller says about a webhook: nil for what was not said.
type input struct {
	name, url, event, integration *string
	active, hidden                *bool
	migratedFrom                  *int64
}

// ignored are parameters that the product sets itself, and that clients send back with the others; and credentials.
var ignored = map[string]bool{
	"id": true, "event_count": true, "date_last_failed": true, "date_created": true, "date_modified": true, "model": true,
	"api_key": true, "api_secret": true, "api-key": true, "api-secret": true,
}

// readBody reads the parameters that the body has.
func readBody(r *http.Request) (map[string]json.RawMessage, error) {
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, err
	}
	if err != nil {
		return nil, fail(http.StatusBadRequest, codeJSON, "The body could not be read.")
	}
	var sent map[string]json.RawMessage
	if err := json.Unmarshal(body, &sent); err != nil || sent == nil {
		return nil, errJSON
	}
	return sent, nil
}

func readInput(sent map[string]json.RawMessage) (*input, error) {
	in := &input{}
	for name, value := range sent {
		if err := in.set(name, value); err != nil {
			return nil, err
		}
	}
	return in, in.check()
}

// set reads a parameter; null is as if it was not sent.
func (in *input) set(name string, value json.RawMessage) error {
	switch name {
	case "name":
		return text(name, value, &in.name)
	case "webhook_url":
		return text(name, value, &in.url)
	case "event":
		return text(name, value, &in.event)
	case "integration":
		return text(name, value, &in.integration)
	case "active":
		return boolean(name, value, &in.active)
	case "hidden":
		return boolean(name, value, &in.hidden)
	case "migrated_from_id":
		if json.Unmarshal(value, &in.migratedFrom) != nil {
			return invalid(name, "is not of type integer.")
		}
		return nil
	}
	if ignored[name] {
		return nil
	}
	shown := strings.ToValidUTF8(name[:min(len(name), 60)], "?")
	return fail(http.StatusBadRequest, codeNoSetter, "The Webhook object does not have a set_"+shown+" method")
}

func text(name string, value json.RawMessage, to **string) error {
	if json.Unmarshal(value, to) != nil {
		return invalid(name, "is not of type string.")
	}
	if *to != nil {
		trimmed := strings.TrimSpace(**to)
		*to = &trimmed
	}
	return nil
}

// boolean reads what WordPress takes for one: true, 1, "1", "true" and their opposites.
func boolean(name string, value json.RawMessage, to **bool) error {
	var yes bool
	switch strings.ToLower(strings.Trim(string(value), `"`)) {
	case "null":
		return nil
	case "true", "1":
		yes = true
	case "false", "0":
	default:
		return invalid(name, "is not of type boolean.")
	}
	*to = &yes
	return nil
}

func (in *input) check() error {
	if err := checkLength("name", in.name, minName, maxName); err != nil {
		return err
	}
	return checkLength("integration", in.integration, minIntegration, maxIntegration)
}

func checkLength(name string, s *string, least, most int) error {
	if s == nil {
		return nil
	}
	if n := utf8.RuneCountInString(*s); n < least || n > most {
		return invalid(name, fmt.Sprintf("must be %d to %d characters.", least, most))
	}
	return nil
}
