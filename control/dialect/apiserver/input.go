package apiserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control/dialect"
)

// input is what a client says of a webhook.
type input struct {
	uri    string
	events []string
}

// input reads a body in JSON or as a form. Fields other than uri and event are left alone: clients send back what they got,
// id and all.
func (c *call) input() (*input, error) {
	if err := dialect.CheckOrigin(c.Request, true); err != nil {
		return nil, err
	}
	mediaType, body, err := dialect.ReadBody(c.w, c.Request)
	if err != nil {
		return nil, err
	}
	in := &input{}
	switch {
	case mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"):
		err = in.fromJSON(body)
	case mediaType == "application/x-www-form-urlencoded":
		err = in.fromForm(string(body))
	default:
		err = dialect.Refuse(http.StatusUnsupportedMediaType, "send application/json or application/x-www-form-urlencoded")
	}
	if err != nil {
		return nil, err
	}
	if in.uri = strings.TrimSpace(in.uri); in.uri == "" {
		return nil, sidehook.Fieldf("uri", "is required")
	}
	return in, nil
}

func (in *input) fromForm(body string) error {
	form, err := url.ParseQuery(body)
	if err != nil {
		return dialect.Refuse(http.StatusBadRequest, "the body is not a form; percent-encode what is not a letter or digit")
	}
	if len(form["uri"]) > 1 {
		return sidehook.Fieldf("uri", "is given %d times", len(form["uri"]))
	}
	in.uri, in.events = form.Get("uri"), splitEvents(append(form["event"], form["event[]"]...)...)
	return nil
}

func (in *input) fromJSON(body []byte) error {
	var fields struct {
		URI   json.RawMessage `json:"uri"`
		Event json.RawMessage `json:"event"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if err := decoder.Decode(&fields); err != nil {
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) {
			return dialect.Refuse(http.StatusUnprocessableEntity, "the body must be an object with uri and event")
		}
		return dialect.Refuse(http.StatusBadRequest, "the body is not JSON")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return dialect.Refuse(http.StatusBadRequest, "the body is more than one JSON value")
	}
	if given(fields.URI) && json.Unmarshal(fields.URI, &in.uri) != nil {
		return sidehook.Fieldf("uri", "must be a string")
	}
	if !given(fields.Event) {
		return nil
	}
	var list []string
	var text string
	switch {
	case json.Unmarshal(fields.Event, &text) == nil:
		list = []string{text}
	case json.Unmarshal(fields.Event, &list) != nil:
		return sidehook.Fieldf("event", "must be a string with commas, or an array of strings")
	}
	in.events = splitEvents(list...)
	return nil
}

func given(v json.RawMessage) bool { return v != nil && string(v) != "null" }
