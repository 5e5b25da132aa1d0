package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

func TestPublishGivesTheAcceptorWhatWasSent(t *testing.T) {
	k := newKeeper("demo", "other")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d := openDoor(t, Options{Acceptor: k, DefaultApp: "other", Now: func() time.Time { return now }})
	second := &eventsv1.Event{Id: "2", Source: "/s", Type: "x"}
	resp, err := d.client.Publish(limited(t), &eventsv1.PublishRequest{Events: []*eventsv1.Event{fullEvent(), second}})
	if err != nil {
		t.Fatal(err)
	}
	got := k.taken()
	compareEvent(t, got[0], fullEvent(), false)
	if got[1].App != "other" || !got[1].Time.Equal(now) || got[1].DataContentType != "application/json" {
		t.Errorf("defaults: %+v", got[1])
	}
	r := resp.Results
	if len(r) != 2 || r[0].Id != "e-1" || r[0].Disposition != eventsv1.Disposition_DISPOSITION_ACCEPTED ||
		r[1].Id != "2" || r[1].Disposition != eventsv1.Disposition_DISPOSITION_DUPLICATE || r[1].Deliveries != 1 {
		t.Errorf("results: %v", r)
	}
	m := d.Metrics()
	if m.Accepted.Load() != 1 || m.Duplicate.Load() != 1 || m.Bytes.Load() != 5 {
		t.Errorf("counted %d accepted, %d duplicate, %d bytes", m.Accepted.Load(), m.Duplicate.Load(), m.Bytes.Load())
	}
}

// badBatch is a batch that has to be refused, on every door of gRPC.
type badBatch struct {
	name    string
	change  func(*eventsv1.Event) // of the event at index 1 of 2
	code    codes.Code
	field   string
	message string // a part of it
}

var badBatches = []badBatch{
	{"no id", func(e *eventsv1.Event) { e.Id = "" }, codes.InvalidArgument, "events[1].id", "is required"},
	{"id with a space", func(e *eventsv1.Event) { e.Id = "a b" }, codes.InvalidArgument, "events[1].id", "visible ASCII"},
	{"id too long", func(e *eventsv1.Event) { e.Id = strings.Repeat("x", 257) }, codes.InvalidArgument, "events[1].id", "256"},
	{"no type", func(e *eventsv1.Event) { e.Type = "" }, codes.InvalidArgument, "events[1].type", "is required"},
	{"type with a star", func(e *eventsv1.Event) { e.Type = "a.*" }, codes.InvalidArgument, "events[1].type", "A-Z"},
	{"no source", func(e *eventsv1.Event) { e.Source = "" }, codes.InvalidArgument, "events[1].source", "is required"},
	{"source with a newline", func(e *eventsv1.Event) { e.Source = "/a\r\nX: y" }, codes.InvalidArgument, "events[1].source", "control"},
	{"no app", func(e *eventsv1.Event) { e.App = "" }, codes.InvalidArgument, "events[1].app", "more than one app"},
	{"malformed app", func(e *eventsv1.Event) { e.App = "../x" }, codes.InvalidArgument, "events[1].app", "A-Z"},
	{"unknown app", func(e *eventsv1.Event) { e.App = "nobody" }, codes.NotFound, "events[1].app", `"nobody"`},
	{"time out of range", func(e *eventsv1.Event) { e.Time = &timestamppb.Timestamp{Nanos: -1} }, codes.InvalidArgument, "events[1].time", "Timestamp"},
	{"data not JSON", func(e *eventsv1.Event) { e.Data = []byte(`{"a":`) }, codes.InvalidArgument, "events[1].data", "not valid JSON"},
	{"data not UTF-8", func(e *eventsv1.Event) { e.Data = []byte("{\"a\":\"\xff\"}") }, codes.InvalidArgument, "events[1].data", "not valid JSON"},
	{"media type", func(e *eventsv1.Event) { e.DataContentType = "text/" }, codes.InvalidArgument, "events[1].data_content_type", "media type"},
	{"extension name", func(e *eventsv1.Event) { e.Extensions = map[string]string{"X-Y": ""} }, codes.InvalidArgument, "events[1].extensions", "X-Y"},
	{"extension value", func(e *eventsv1.Event) { e.Extensions = map[string]string{"x": "\x00"} }, codes.InvalidArgument, "events[1].extensions.x", "control"},
	{"extensions", func(e *eventsv1.Event) {
		e.Extensions = map[string]string{}
		for i := range 50 {
			e.Extensions[fmt.Sprintf("x%d", i)] = ""
		}
	}, codes.InvalidArgument, "events[1].extensions", "at most 32"},
	{"data too large", func(e *eventsv1.Event) { e.Data = make([]byte, 2001) }, codes.ResourceExhausted, "events[1].data", "2001 bytes"},
	{"ordering key too long", func(e *eventsv1.Event) { e.OrderingKey = strings.Repeat("x", 257) }, codes.InvalidArgument, "events[1].ordering_key", "256"},
}

func (b badBatch) events() []*eventsv1.Event {
	bad := event1("2")
	b.change(bad)
	return []*eventsv1.Event{event1("1"), bad}
}

func TestPublishRefuses(t *testing.T) {
	k := newKeeper("demo")
	d := openDoor(t, Options{Acceptor: k, MaxData: 2000})
	for _, tc := range badBatches {
		t.Run(tc.name, func(t *testing.T) {
			_, err := d.client.Publish(limited(t), &eventsv1.PublishRequest{Events: tc.events()})
			st := status.Convert(err)
			if st.Code() != tc.code || !strings.Contains(st.Message(), tc.message) || !strings.Contains(st.Message(), tc.field) {
				t.Fatalf("got %v %q, want %v with %q and %q", st.Code(), st.Message(), tc.code, tc.field, tc.message)
			}
			field := ""
			for _, detail := range st.Details() {
				switch detail := detail.(type) {
				case *errdetails.BadRequest:
					field = detail.FieldViolations[0].Field
				case *errdetails.RetryInfo:
					t.Error("RetryInfo although trying again cannot help")
				}
			}
			if tc.code == codes.InvalidArgument && field != tc.field {
				t.Errorf("violation names %q, want %q", field, tc.field)
			}
		})
	}
	if n := len(k.taken()); n != 0 {
		t.Errorf("%d events of refused batches were taken", n)
	}
	m := &d.Metrics().Refused
	if m.UnknownApp.Load() != 1 || m.TooLarge.Load() != 1 || m.Invalid.Load() != uint64(len(badBatches)-2) {
		t.Errorf("counted %d unknown app, %d too large, %d invalid", m.UnknownApp.Load(), m.TooLarge.Load(), m.Invalid.Load())
	}
}

func TestPublishRefusesTextThatIsNotUTF8(t *testing.T) {
	d := openDoor(t, Options{Acceptor: newKeeper("demo")})
	// The generated client will not send such text, so these are the bytes: events[0] with a subject of 0xff.
	raw := []byte{0x0a, 0x1a, 0x0a, 4, 'd', 'e', 'm', 'o', 0x12, 1, '1', 0x1a, 2, '/', 't', 0x22, 5, 'a', '.', 'b', '.', 'c', 0x2a, 1, 0xff, 0x4a, 0}
	raw[1] = byte(len(raw) - 2)
	err := d.conn.Invoke(limited(t), eventsv1.EventService_Publish_FullMethodName, &raw, new([]byte), grpc.ForceCodec(rawCodec{}))
	if st := status.Convert(err); st.Code() != codes.InvalidArgument || !strings.Contains(st.Message(), "events[0].subject: must be UTF-8") {
		t.Fatalf("got %v", err)
	}
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (rawCodec) Name() string { return "proto" }

func TestPublishRefusesBySize(t *testing.T) {
	d := openDoor(t, Options{Acceptor: newKeeper("demo")})
	many := func(n, size int) []*eventsv1.Event {
		var events []*eventsv1.Event
		for i := range n {
			e := event1(fmt.Sprint(i))
			e.Data = []byte(`"` + strings.Repeat("x", size) + `"`)
			events = append(events, e)
		}
		return events
	}
	for _, tc := range []struct {
		name    string
		events  []*eventsv1.Event
		code    codes.Code
		message string
	}{
		{"none", nil, codes.InvalidArgument, "1 to 1000"},
		{"1001", many(1001, 1), codes.InvalidArgument, "1 to 1000"},
		{"1000 of 1 KiB", many(1000, 1022), codes.OK, ""},
		{"over 1 MiB", many(5, 250<<10), codes.ResourceExhausted, "smaller batches"},
		{"over the transport's limit", many(20, 250<<10), codes.ResourceExhausted, "larger than max"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := d.client.Publish(limited(t), &eventsv1.PublishRequest{Events: tc.events})
			if st := status.Convert(err); st.Code() != tc.code || !strings.Contains(st.Message(), tc.message) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestPublishTellsWhyTheAcceptorRefused(t *testing.T) {
	for _, tc := range []struct {
		err   error
		code  codes.Code
		retry time.Duration
	}{
		{&sidehook.FullError{What: "queue is at its limit", RetryAfter: 7 * time.Second}, codes.ResourceExhausted, 7 * time.Second},
		{fmt.Errorf("append: %w", sidehook.ErrFull), codes.ResourceExhausted, time.Second},
		{fmt.Errorf("fan-out: %w", sidehook.ErrTooLarge), codes.ResourceExhausted, 0},
		{sidehook.ErrStopping, codes.Unavailable, 0},
		{fmt.Errorf("%w %q", sidehook.ErrUnknownApp, "demo"), codes.NotFound, 0},
		{errors.New("disk on fire at sector 7"), codes.Internal, 0},
	} {
		for _, when := range []string{"Accept", "Wait"} {
			t.Run(when+" "+tc.err.Error(), func(t *testing.T) {
				k := newKeeper("demo")
				if when == "Accept" {
					k.fail(tc.err, nil)
				} else {
					k.fail(nil, tc.err)
				}
				d := openDoor(t, Options{Acceptor: k})
				_, err := d.client.Publish(limited(t), &eventsv1.PublishRequest{Events: []*eventsv1.Event{event1("1")}})
				st := status.Convert(err)
				if st.Code() != tc.code {
					t.Fatalf("got %v, want %v", err, tc.code)
				}
				if strings.Contains(st.Message(), "sector") {
					t.Errorf("the inside went over the wire: %q", st.Message())
				}
				var retry time.Duration
				for _, detail := range st.Details() {
					if info, ok := detail.(*errdetails.RetryInfo); ok {
						retry = info.RetryDelay.AsDuration()
					}
				}
				if retry != tc.retry {
					t.Errorf("retry after %v, want %v", retry, tc.retry)
				}
			})
		}
	}
}

func TestPublishWaitsForDurable(t *testing.T) {
	k := newKeeper("demo")
	release := k.hold()
	d := openDoor(t, Options{Acceptor: k})
	answered := make(chan error, 1)
	go func() {
		_, err := d.client.Publish(limited(t), &eventsv1.PublishRequest{Events: []*eventsv1.Event{event1("1")}})
		answered <- err
	}()
	receive(t, k.accepted, "batch")
	select {
	case err := <-answered:
		t.Fatalf("answered before it was durable: %v", err)
	default:
	}
	release()
	if err := receive(t, answered, "answer"); err != nil {
		t.Fatal(err)
	}
}

func TestPublishOfAClientThatGivesUp(t *testing.T) {
	k := newKeeper("demo")
	defer k.hold()()
	d := openDoor(t, Options{Acceptor: k})
	ctx, cancel := context.WithCancel(limited(t))
	answered := make(chan error, 1)
	go func() {
		_, err := d.client.Publish(ctx, &eventsv1.PublishRequest{Events: []*eventsv1.Event{event1("1")}})
		answered <- err
	}()
	receive(t, k.accepted, "batch")
	cancel()
	if err := receive(t, answered, "answer"); status.Code(err) != codes.Canceled {
		t.Fatalf("got %v", err)
	}
}

func TestHealthAndReflection(t *testing.T) {
	d := openDoor(t, Options{Acceptor: newKeeper("demo")})
	health := healthv1.NewHealthClient(d.conn)
	check := func(want healthv1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for _, service := range []string{"", "sidehook.events.v1.EventService"} {
			resp, err := health.Check(limited(t), &healthv1.HealthCheckRequest{Service: service})
			if err != nil || resp.Status != want {
				t.Errorf("health of %q: %v, %v; want %v", service, resp, err, want)
			}
		}
	}
	check(healthv1.HealthCheckResponse_SERVING)
	d.grpc.SetServing(false)
	check(healthv1.HealthCheckResponse_NOT_SERVING)

	stream, err := reflectionv1.NewServerReflectionClient(d.conn).ServerReflectionInfo(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range []*reflectionv1.ServerReflectionRequest{
		{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}},
		{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "sidehook.events.v1.EventService"}},
	} {
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil || resp.GetErrorResponse() != nil || !strings.Contains(resp.String(), "sidehook.events.v1") {
			t.Errorf("reflection: %v, %v", resp, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
}
