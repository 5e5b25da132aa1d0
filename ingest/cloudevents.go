package ingest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/jsonvalid"
)

// The CloudEvents SDK decodes, with what follows put around it, each point found by feeding it odd input (v2.16.2):
//
//   - it panics on the header "Ce-" and on a data_base64 that is not a string, so names and kinds are checked before;
//   - its JSON reader is lenient, so the text has to be valid JSON, without repeated or empty names, first;
//   - it rounds numbers and rewrites URIs, so integers are checked, and source, dataschema and JSON data taken as sent;
//   - it does not percent-decode ce-* headers (CloudEvents HTTP binding 1.0, section 3.1.3.2), so we do before it.

// mediaError: the request is not a CloudEvent in any mode.
type mediaError struct{ reason string }

func (e *mediaError) Error() string { return e.reason }

// The CloudEvents names of what has a field of its own in an Event. Only these two are ours; the rest is the standard's.
const (
	extensionApp         = "app"
	extensionOrderingKey = "orderingkey"
)

// cloudEventsField turns a field path of an Event into the name that CloudEvents has for it.
func cloudEventsField(field string) string {
	return strings.NewReplacer("data_content_type", "datacontenttype", "data_schema", "dataschema",
		"ordering_key", "orderingkey", "extensions.", "").Replace(field)
}

// parseCloudEvents reads the events of a request; single tells that it was not a batch. The error is a *mediaError or
// one for refusalOf.
func parseCloudEvents(header http.Header, body []byte) (events []*sidehook.Event, single bool, err error) {
	switch cehttp.NewMessage(header, nil).ReadEncoding() {
	case binding.EncodingBatch:
		events, err = parseBatch(body)
		return events, false, err
	case binding.EncodingStructured:
		e, err := parseStructured(body)
		return []*sidehook.Event{e}, true, err
	case binding.EncodingBinary:
		e, err := parseBinary(header, body)
		return []*sidehook.Event{e}, true, err
	}
	return nil, true, unknownEncoding(header)
}

// unknownEncoding says what is missing to make the request a CloudEvent.
func unknownEncoding(header http.Header) error {
	if v := header.Get("Ce-Specversion"); v != "" {
		return sidehook.Fieldf("specversion", "must be 1.0")
	}
	for name := range header {
		if strings.HasPrefix(name, "Ce-") {
			return sidehook.Fieldf("specversion", "is required: send the header ce-specversion: 1.0")
		}
	}
	return &mediaError{"this is not a CloudEvent: send application/cloudevents+json, application/cloudevents-batch+json, " +
		"or the attributes as ce-* headers with ce-specversion: 1.0"}
}

func parseBatch(body []byte) ([]*sidehook.Event, error) {
	if !jsonvalid.Valid(body) {
		return nil, sidehook.Fieldf("", "the body is not valid JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, sidehook.Fieldf("", "the body of a batch must be a JSON array of events")
	}
	var events []*sidehook.Event
	for dec.More() {
		if len(events) == MaxEvents {
			return nil, sidehook.Fieldf("events", "must hold 1 to %d events", MaxEvents)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, under(len(events), sidehook.Fieldf("", "cannot be read: %v", err))
		}
		e, err := parseStructured(raw)
		if err != nil {
			return nil, under(len(events), err)
		}
		events = append(events, e)
	}
	return events, nil
}

// parseStructured reads an event in the JSON format.
func parseStructured(body []byte) (*sidehook.Event, error) {
	if !jsonvalid.Valid(body) {
		return nil, sidehook.Fieldf("", "the body is not valid JSON")
	}
	envelope, err := readEnvelope(body)
	if err != nil {
		return nil, err
	}
	clean, err := json.Marshal(envelope)
	if err != nil {
		return nil, fmt.Errorf("writing the envelope again: %w", err)
	}
	var ce event.Event
	if err := ce.UnmarshalJSON(clean); err != nil {
		return nil, sidehook.Fieldf("", "is not a CloudEvent: %v", err)
	}
	e, err := fromSDK(&ce)
	if err != nil {
		return nil, err
	}
	e.Source, e.DataSchema = envelope.text("source"), envelope.text("dataschema")
	if data, ok := envelope["data"]; ok && e.IsJSON() {
		e.Data = data
	}
	return e, nil
}

// envelope holds the members of an event in the JSON format, null ones left out: they count as absent.
type envelope map[string]json.RawMessage

// text is a member that readEnvelope found to be a string, or empty.
func (v envelope) text(name string) string {
	var s string
	if raw, ok := v[name]; ok && json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func readEnvelope(body []byte) (envelope, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, sidehook.Fieldf("", "an event must be a JSON object")
	}
	v := envelope{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, sidehook.Fieldf("", "cannot be read: %v", err)
		}
		name, ok := t.(string)
		if !ok {
			return nil, sidehook.Fieldf("", "an event must be a JSON object")
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, sidehook.Fieldf(shorten(name), "cannot be read: %v", err)
		}
		if _, twice := v[name]; twice {
			return nil, sidehook.Fieldf(shorten(name), "is there twice")
		}
		if err := checkMember(name, raw); err != nil {
			return nil, err
		}
		v[name] = raw
	}
	for name, raw := range v {
		if name != "data" && string(raw) == "null" {
			delete(v, name)
		}
	}
	return v, v.check()
}

// check checks what concerns several members.
func (v envelope) check() error {
	_, data := v["data"]
	_, base64 := v["data_base64"]
	switch {
	case data && base64:
		return sidehook.Fieldf("data_base64", "must not stand beside data")
	case v.text("specversion") != event.CloudEventsVersionV1:
		return sidehook.Fieldf("specversion", "must be 1.0")
	case len(v) > sidehook.MaxExtensions+len(standardMembers):
		return sidehook.Fieldf("extensions", "must be at most %d", sidehook.MaxExtensions)
	}
	return nil
}

// standardMembers are the members that CloudEvents 1.0 names; all others are extension attributes.
var standardMembers = map[string]bool{
	"specversion": true, "id": true, "source": true, "type": true, "subject": true, "time": true,
	"datacontenttype": true, "dataschema": true, "data": true, "data_base64": true,
}

// checkMember checks the kind of a member's value, and its text where the SDK's message would not say what is wrong.
func checkMember(name string, raw json.RawMessage) error {
	if name == "data" || string(raw) == "null" {
		return nil
	}
	if !standardMembers[name] {
		return checkExtension(name, raw)
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return sidehook.Fieldf(name, "must be a JSON string")
	}
	switch name {
	case "time":
		return checkTime(s)
	case "source", "dataschema":
		return checkURI(name, s)
	case "data_base64":
		if _, err := base64.StdEncoding.DecodeString(s); err != nil {
			return sidehook.Fieldf(name, "is not base64")
		}
	}
	return nil
}

// checkExtension: a string, a boolean or an integer of 32 bits (CloudEvents 1.0, "Type System").
func checkExtension(name string, raw json.RawMessage) error {
	if !sidehook.ValidExtensionName(name) {
		return sidehook.Fieldf(shorten(name), "is not a name for an extension attribute: 1 to %d of a-z 0-9", sidehook.MaxExtensionName)
	}
	switch c := raw[0]; {
	case c == '"' || c == 't' || c == 'f':
		return nil
	case c == '{' || c == '[':
		return sidehook.Fieldf(name, "must be a string, a boolean or an integer")
	}
	if _, err := strconv.ParseInt(string(raw), 10, 32); err != nil {
		return sidehook.Fieldf(name, "must be an integer of 32 bits, or a string")
	}
	return nil
}

func checkTime(s string) error {
	if _, err := time.Parse(time.RFC3339Nano, s); err != nil {
		return sidehook.Fieldf("time", "must be an RFC 3339 time such as 2026-01-02T15:04:05Z")
	}
	return nil
}

func checkURI(name, s string) error {
	if _, err := url.Parse(s); err != nil {
		return sidehook.Fieldf(name, "is not a URI-reference such as /channels")
	}
	return nil
}

// parseBinary reads an event whose attributes are ce-* headers and whose data is the body.
func parseBinary(header http.Header, body []byte) (*sidehook.Event, error) {
	attributes, err := readAttributes(header)
	if err != nil {
		return nil, err
	}
	msg := cehttp.NewMessage(attributes, io.NopCloser(bytes.NewReader(body)))
	ce, err := binding.ToEvent(context.Background(), msg)
	if err != nil {
		return nil, sidehook.Fieldf("", "is not a CloudEvent: %v", err)
	}
	e, err := fromSDK(ce)
	if err != nil {
		return nil, err
	}
	e.Source, e.DataSchema = attributes.Get("Ce-Source"), attributes.Get("Ce-Dataschema")
	e.Data = body
	return e, nil
}

// readAttributes picks and decodes the headers that are attributes, once each.
func readAttributes(header http.Header) (http.Header, error) {
	out := http.Header{}
	for key, values := range header {
		name, isAttribute := strings.CutPrefix(key, "Ce-")
		if !isAttribute && key != "Content-Type" {
			continue
		}
		name = strings.ToLower(name)
		if !isAttribute {
			name = "datacontenttype"
		}
		if len(values) != 1 {
			return nil, sidehook.Fieldf(shorten(name), "must be sent once")
		}
		value := values[0]
		if isAttribute {
			value = decodeHeader(value)
			if err := checkAttribute(name, value); err != nil {
				return nil, err
			}
		}
		out[key] = []string{value}
	}
	return out, nil
}

func checkAttribute(name, value string) error {
	switch {
	case name == "specversion" && value != event.CloudEventsVersionV1:
		return sidehook.Fieldf(name, "must be 1.0")
	case name == "datacontenttype":
		return sidehook.Fieldf(name, "is the header Content-Type in binary mode, not ce-datacontenttype")
	case name == "data" || name == "data_base64" || !standardMembers[name] && !sidehook.ValidExtensionName(name):
		return sidehook.Fieldf(shorten(name), "is not a name for an attribute: 1 to %d of a-z 0-9", sidehook.MaxExtensionName)
	case name == "time":
		return checkTime(value)
	case name == "source" || name == "dataschema":
		return checkURI(name, value)
	}
	return nil
}

// decodeHeader undoes the quoting and percent-encoding of attribute values. What is not well-formed stays as it is:
// older libraries, the Go one among them, send values unencoded.
func decodeHeader(v string) string {
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		v = unquote(v[1 : len(v)-1])
	}
	if !strings.Contains(v, "%") {
		return v
	}
	if decoded, err := url.PathUnescape(v); err == nil {
		return decoded
	}
	return v
}

// unquote removes the backslashes of a quoted-string.
func unquote(v string) string {
	if !strings.Contains(v, `\`) {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

// fromSDK takes an event over.
func fromSDK(ce *event.Event) (*sidehook.Event, error) {
	e := &sidehook.Event{
		ID:              ce.ID(),
		Source:          ce.Source(),
		Type:            ce.Type(),
		Subject:         ce.Subject(),
		Time:            ce.Time(),
		DataContentType: ce.DataContentType(),
		DataSchema:      ce.DataSchema(),
		Data:            ce.Data(),
	}
	for name, value := range ce.Extensions() {
		text, err := types.Format(value)
		if err != nil {
			return nil, sidehook.Fieldf(shorten(name), "cannot be read: %v", err)
		}
		switch name {
		case extensionApp:
			e.App = text
		case extensionOrderingKey:
			e.OrderingKey = text
		default:
			if e.Extensions == nil {
				e.Extensions = make(map[string]string, 2)
			}
			e.Extensions[name] = text
		}
	}
	return e, nil
}

// shorten bounds what is echoed of a name that somebody made up.
func shorten(name string) string {
	const most = 40
	if len(name) > most {
		name = name[:most] + "…"
	}
	return strings.ToValidUTF8(name, "?")
}
