package twenty

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxDescription bounds a description, in bytes.
const maxDescription = 2000

// input is what a caller says about a webhook: nil for what was not said.
type input struct {
	targetURL   *string
	operations  *[]string
	description **string // null takes it away
	secret      *string
}

// readOnly are fields that answers have, and that clients send back with the others.
var readOnly = map[string]bool{
	"id": true, "createdAt": true, "updatedAt": true, "deletedAt": true, "workspaceId": true, "applicationId": true,
}

func readInput(r *http.Request) (*input, error) {
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, err
	}
	if err != nil {
		return nil, fail(http.StatusBadRequest, "", "the body could not be read")
	}
	var sent map[string]json.RawMessage
	if err := json.Unmarshal(body, &sent); err != nil || sent == nil {
		return nil, fail(http.StatusBadRequest, codeBadInput, "the body must be a JSON object")
	}
	in := &input{}
	for name, value := range sent {
		if err := in.set(name, value); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// set reads a field. For all but the description, null is as if it was not sent.
func (in *input) set(name string, value json.RawMessage) error {
	null := bytes.Equal(value, []byte("null"))
	switch name {
	case fieldURL:
		return decode(name, "a string", value, &in.targetURL)
	case "operations":
		return decode(name, "an array of strings", value, &in.operations)
	case "secret":
		return decode(name, "a string", value, &in.secret)
	case "description":
		in.description = new(*string)
		if null {
			return nil
		}
		if err := decode(name, "a string or null", value, in.description); err != nil {
			return err
		}
		if len(**in.description) > maxDescription {
			return badField(name, "must be at most %d bytes", maxDescription)
		}
		return nil
	}
	if readOnly[name] {
		return nil
	}
	return badField(strings.ToValidUTF8(cut(name), "?"), "is not a known field; there are targetUrl, operations, description and secret")
}

func decode(name, kind string, value json.RawMessage, to any) error {
	if json.Unmarshal(value, to) != nil {
		return badField(name, "must be %s", kind)
	}
	return nil
}

// cut keeps a name that somebody made up from filling the answer.
func cut(s string) string { return s[:min(len(s), 60)] }

// normalURL writes a URL as Twenty stores it: an empty path is a slash, and the host is in lower case. What is no URL
// stays as it is.
func normalURL(s string) string {
	s = strings.TrimSpace(s)
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return s
	}
	u.Host = strings.ToLower(u.Host)
	if u.Path == "" {
		u.Path = "/"
	}
	return u.String()
}
