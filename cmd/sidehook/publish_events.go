package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// numbered is an event with the line of the file that it comes from; 0 for none.
type numbered struct {
	event *eventsv1.Event
	line  int
}

// eventSource yields events. An error with a line set in numbered is about that line, and the next may be good.
type eventSource = iter.Seq2[numbered, error]

// eventFlags describe an event.
type eventFlags struct {
	eventType, data, id, source, subject, app, orderingKey, time, contentType, schema string
	extensions                                                                        []string
}

var eventFlagNames = []string{
	"data", "id", "source", "subject", "app", "ordering-key", "time", "content-type", "schema", "ext",
}

func (f *eventFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.eventType, "type", "", "event type, such as person.created")
	flags.StringVar(&f.data, "data", "", "payload; @FILE reads a file, - standard input")
	flags.StringVar(&f.id, "id", "", "id, unique within the app; a repeat is not delivered again (default a random one)")
	flags.StringVar(&f.source, "source", "/sidehook/publish", "CloudEvents source: a URI-reference")
	flags.StringVar(&f.subject, "subject", "", "CloudEvents subject")
	flags.StringVar(&f.app, "app", "", "app that it belongs to (default the sidecar's only one)")
	flags.StringVar(&f.orderingKey, "ordering-key", "", "events of one key go in order to webhooks that ask for it")
	flags.StringVar(&f.time, "time", "", "when it happened (RFC 3339) (default now)")
	flags.StringVar(&f.contentType, "content-type", "", "media type of the payload (default application/json)")
	flags.StringVar(&f.schema, "schema", "", "CloudEvents dataschema: a URI")
	flags.StringArrayVar(&f.extensions, "ext", nil, "CloudEvents extension attribute NAME=VALUE; may be repeated")
}

// event makes the event; its id is empty when the flags give none.
func (f *eventFlags) event(cmd *cobra.Command, stdin io.Reader) (*eventsv1.Event, error) {
	e := &eventsv1.Event{
		App: f.app, Id: f.id, Source: f.source, Type: f.eventType, Subject: f.subject,
		DataContentType: f.contentType, DataSchema: f.schema, OrderingKey: f.orderingKey,
	}
	if f.time != "" {
		t, err := time.Parse(time.RFC3339Nano, f.time)
		if err != nil {
			return nil, usagef(cmd, "--time %q is not a time such as 2026-01-02T15:04:05Z", f.time)
		}
		e.Time = timestamppb.New(t)
	}
	for _, ext := range f.extensions {
		name, value, ok := strings.Cut(ext, "=")
		if !ok {
			return nil, usagef(cmd, "--ext %q must be NAME=VALUE", ext)
		}
		if e.Extensions == nil {
			e.Extensions = make(map[string]string)
		}
		e.Extensions[name] = value
	}
	var err error
	e.Data, err = payload(f.data, stdin)
	return e, err
}

// maxPayload is more than any sidecar takes: it keeps a wrong file from being read whole.
const maxPayload = 1 << 20

func payload(data string, stdin io.Reader) ([]byte, error) { return readData("payload", data, stdin) }

// readData gives what data stands for: @ and a file, - for standard input, else data itself. what names it in errors.
func readData(what, data string, stdin io.Reader) (_ []byte, err error) {
	from := stdin
	switch name, file := strings.CutPrefix(data, "@"); {
	case file:
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("cannot read the %s: %w", what, err)
		}
		defer f.Close() //nolint:errcheck // only read
		from = f
	case data != "-":
		return []byte(data), nil
	}
	b, err := io.ReadAll(io.LimitReader(from, maxPayload+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the %s: %w", what, err)
	}
	if len(b) > maxPayload {
		return nil, fmt.Errorf("the %s is over %d bytes: %w", what, maxPayload, sidehook.ErrTooLarge)
	}
	return b, nil
}

// repeated yields an event count times. Each gets an id of its own: with numberIDs the event's with a number at its
// end, else a random one.
func repeated(e *eventsv1.Event, numberIDs bool, count int) eventSource {
	return func(yield func(numbered, error) bool) {
		for i := range count {
			next := e
			if count > 1 {
				next = proto.CloneOf(e)
			}
			switch {
			case !numberIDs:
				next.Id = uuid.NewString()
			case count > 1:
				next.Id = e.GetId() + "-" + strconv.Itoa(i+1)
			}
			if !yield(numbered{event: next}, nil) {
				return
			}
		}
	}
}

const (
	maxLine   = 2 << 20 // bytes: base64 and attributes around the largest payload
	lineStart = 64 << 10
)

// fromLines yields the CloudEvents of a file with one on each line; empty lines are passed over.
func fromLines(r io.Reader) eventSource {
	return func(yield func(numbered, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, lineStart), maxLine)
		n := 0
		for lines.Scan() {
			n++
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue
			}
			e, err := parseCloudEvent(lines.Bytes())
			if !yield(numbered{event: e, line: n}, err) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				err = fmt.Errorf("line %d is over %d bytes: %w", n+1, maxLine, sidehook.ErrTooLarge)
			}
			yield(numbered{}, fmt.Errorf("cannot read the events: %w", err))
		}
	}
}

// The attributes of CloudEvents 1.0 in its JSON format that have a field of their own in Event; the extensions app and
// orderingkey have one too.
const (
	attrData       = "data"
	attrDataBase64 = "data_base64"
)

// parseCloudEvent reads an event in the JSON format of CloudEvents 1.0. Its data is kept byte for byte.
func parseCloudEvent(line []byte) (*eventsv1.Event, error) {
	var attrs map[string]json.RawMessage
	if err := json.Unmarshal(line, &attrs); err != nil {
		return nil, fmt.Errorf("is not a JSON object: %w", err)
	}
	e := &eventsv1.Event{}
	for name, raw := range attrs {
		if name == attrData || name == attrDataBase64 || string(raw) == "null" {
			continue
		}
		value, err := attribute(raw)
		if err != nil {
			return nil, fmt.Errorf("%.40q %w", name, err)
		}
		if err := setAttribute(e, name, value); err != nil {
			return nil, err
		}
	}
	if _, ok := attrs["specversion"]; !ok {
		return nil, errors.New(`specversion: is required: "1.0"`)
	}
	if err := setData(e, attrs); err != nil {
		return nil, err
	}
	return e, validateLocally(e)
}

// attribute gives the text of a CloudEvents attribute, which may be a string, a boolean or an integer.
func attribute(raw json.RawMessage) (string, error) {
	if raw[0] != '"' {
		switch raw[0] {
		case '{', '[':
			return "", errors.New("must be text, a number or a boolean")
		}
		return string(raw), nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

func setAttribute(e *eventsv1.Event, name, value string) error {
	switch name {
	case "specversion":
		if value != "1.0" {
			return fmt.Errorf("specversion: is %.20q; only 1.0 is known", value)
		}
	case "id":
		e.Id = value
	case "source":
		e.Source = value
	case "type":
		e.Type = value
	case "subject":
		e.Subject = value
	case "datacontenttype":
		e.DataContentType = value
	case "dataschema":
		e.DataSchema = value
	case "app":
		e.App = value
	case "orderingkey":
		e.OrderingKey = value
	case "time":
		t, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			return fmt.Errorf("time: %.40q is not a time such as 2026-01-02T15:04:05Z", value)
		}
		e.Time = timestamppb.New(t)
	default:
		if e.Extensions == nil {
			e.Extensions = make(map[string]string)
		}
		e.Extensions[name] = value
	}
	return nil
}

func setData(e *eventsv1.Event, attrs map[string]json.RawMessage) error {
	data, plain := attrs[attrData]
	encoded, binary := attrs[attrDataBase64]
	switch {
	case plain && binary:
		return errors.New("data: cannot stand beside data_base64")
	case binary:
		var text string
		if err := json.Unmarshal(encoded, &text); err != nil {
			return errors.New("data_base64: must be text")
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return errors.New("data_base64: is not base64")
		}
		e.Data = b
	case plain && (&sidehook.Event{DataContentType: e.GetDataContentType()}).IsJSON():
		e.Data = data
	case plain:
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return fmt.Errorf("data: must be text, or data_base64, for the content type %.40q", e.GetDataContentType())
		}
		e.Data = []byte(text)
	}
	return nil
}

// validateLocally finds what a sidecar would refuse, so that one bad line does not take its whole batch with it. It is
// no stricter than any sidecar: only the sidecar knows its app and its size limit.
func validateLocally(e *eventsv1.Event) error {
	event := sidehook.Event{
		App: first(e.GetApp(), "app"), ID: e.GetId(), Source: e.GetSource(), Type: e.GetType(), Subject: e.GetSubject(),
		DataContentType: e.GetDataContentType(), DataSchema: e.GetDataSchema(), OrderingKey: e.GetOrderingKey(),
		Data: e.GetData(), Extensions: e.GetExtensions(),
	}
	return event.Validate(maxPayload)
}
