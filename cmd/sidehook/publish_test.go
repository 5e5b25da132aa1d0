package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// events is an EventService that remembers what it got and answers as the test wants.
type events struct {
	eventsv1.UnimplementedEventServiceServer
	publish func([]*eventsv1.Event) (*eventsv1.PublishResponse, error)
	// answer answers the n-th batch of a stream, from 0; nil, nil leaves it unanswered.
	answer func(n int, req *eventsv1.PublishStreamRequest) (*eventsv1.PublishStreamResponse, error)

	mu  sync.Mutex
	got []*eventsv1.Event
}

func (s *events) keep(es []*eventsv1.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, es...)
}

func (s *events) all() []*eventsv1.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

func accepted(es []*eventsv1.Event) []*eventsv1.PublishResult {
	results := make([]*eventsv1.PublishResult, len(es))
	for i, e := range es {
		results[i] = &eventsv1.PublishResult{
			Id: e.GetId(), Disposition: eventsv1.Disposition_DISPOSITION_ACCEPTED, Deliveries: 2,
		}
	}
	return results
}

func (s *events) Publish(_ context.Context, req *eventsv1.PublishRequest) (*eventsv1.PublishResponse, error) {
	s.keep(req.GetEvents())
	if s.publish != nil {
		return s.publish(req.GetEvents())
	}
	return &eventsv1.PublishResponse{Results: accepted(req.GetEvents())}, nil
}

func (s *events) PublishStream(stream grpc.BidiStreamingServer[eventsv1.PublishStreamRequest, eventsv1.PublishStreamResponse]) error {
	for n := 0; ; n++ {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.keep(req.GetEvents())
		resp := &eventsv1.PublishStreamResponse{Sequence: req.GetSequence(), Results: accepted(req.GetEvents())}
		if s.answer != nil {
			if resp, err = s.answer(n, req); err != nil {
				return err
			}
		}
		if resp == nil {
			continue
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

// serveEvents serves s and returns its address.
func serveEvents(t *testing.T, s *events, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	eventsv1.RegisterEventServiceServer(g, s)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// exec runs a command line in this process.
func execute(ctx context.Context, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	c := &cli{
		stdin: strings.NewReader(stdin), stdout: &out, stderr: &errOut,
		getenv: func(string) string { return "" }, processes: production(),
	}
	code = c.run(ctx, args)
	return code, out.String(), errOut.String()
}

func TestPublishOne(t *testing.T) {
	s := &events{}
	addr := serveEvents(t, s, "tcp", "127.0.0.1:0")
	code, stdout, stderr := execute(t.Context(), `{"from":"stdin"}`, "publish", "--address", addr, "--type", "person.created",
		"--data", "-", "--id", "evt-1", "--subject", "p/1", "--app", "demo", "--ordering-key", "k",
		"--time", "2026-01-02T03:04:05.006+07:00", "--content-type", "application/vnd.x+json", "--schema", "http://s",
		"--ext", "traceparent=00-a-b-01", "--ext", "x=a=b")
	if code != exitOK || stderr != "" {
		t.Fatalf("code %d, stderr %s", code, stderr)
	}
	want := "ID     RESULT    DELIVERIES\nevt-1  accepted  2\n"
	if diff := cmp.Diff(want, stdout); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	e := s.all()[0]
	got := fmt.Sprint(e.GetApp(), e.GetId(), e.GetSource(), e.GetType(), e.GetSubject(), e.GetOrderingKey(),
		e.GetDataContentType(), e.GetDataSchema(), string(e.GetData()), e.GetExtensions(),
		e.GetTime().AsTime().Format(time.RFC3339Nano))
	wantEvent := `demoevt-1/sidehook/publishperson.createdp/1kapplication/vnd.x+jsonhttp://s{"from":"stdin"}` +
		`map[traceparent:00-a-b-01 x:a=b]2026-01-01T20:04:05.006Z`
	if diff := cmp.Diff(wantEvent, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestPublishOverUnixSocketAndFromFile(t *testing.T) {
	s := &events{}
	dir, err := os.MkdirTemp("", "s") // t.TempDir can be longer than the address of a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	sock := filepath.Join(dir, "s.sock")
	serveEvents(t, s, "unix", sock)
	file := filepath.Join(dir, "data.json")
	if err := os.WriteFile(file, []byte(" {\"a\" : 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"unix:" + sock, "unix://" + sock} {
		code, _, stderr := execute(t.Context(), "", "publish", "--address", address, "--type", "a", "--data", "@"+file)
		if code != exitOK {
			t.Fatalf("%s: code %d: %s", address, code, stderr)
		}
	}
	got := s.all()
	if len(got) != 2 || string(got[0].GetData()) != " {\"a\" : 1}\n" || got[0].GetId() == "" || got[0].GetId() == got[1].GetId() {
		t.Errorf("got %v", got)
	}
}

func TestPublishResultsAsJSON(t *testing.T) {
	s := &events{publish: func(es []*eventsv1.Event) (*eventsv1.PublishResponse, error) {
		return &eventsv1.PublishResponse{Results: []*eventsv1.PublishResult{
			{Id: es[0].GetId(), Disposition: eventsv1.Disposition_DISPOSITION_HELD},
		}}, nil
	}}
	addr := serveEvents(t, s, "tcp", "127.0.0.1:0")
	code, stdout, _ := execute(t.Context(), "", "publish", "--address", addr, "--type", "a", "--id", "x", "-o", "json")
	if want := `{"id":"x","disposition":"held","deliveries":0}` + "\n"; code != exitOK || stdout != want {
		t.Errorf("code %d, got %s want %s", code, stdout, want)
	}
	code, stdout, stderr := execute(t.Context(), "", "publish", "--address", addr, "--type", "a", "--id", "x")
	if code != exitOK || !strings.Contains(stdout, "held") || !strings.HasPrefix(stderr, "held: stored until") {
		t.Errorf("code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
}

func TestPublishRefused(t *testing.T) {
	violation, err := status.New(codes.InvalidArgument, "bad").WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "events[0].type", Description: "must be shorter"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	full, err := status.New(codes.ResourceExhausted, "no room: queue is at its limit").WithDetails(&errdetails.RetryInfo{
		RetryDelay: durationpb.New(5 * time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"field":    {violation.Err(), "sidehook: the sidecar refused it: type: must be shorter\n"},
		"full":     {full.Err(), "sidehook: the sidecar refused it: no room: queue is at its limit; try again in 5s\n"},
		"app":      {status.Error(codes.NotFound, `unknown app "x"`), "sidehook: the sidecar refused it: unknown app \"x\"\n"},
		"stopping": {status.Error(codes.Unavailable, "stopping"), "sidehook: the sidecar went away: stopping\n"},
		"broken":   {status.Error(codes.Internal, "a\x1b[2J"), "sidehook: the sidecar failed (Internal): a\uFFFD[2J\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &events{publish: func([]*eventsv1.Event) (*eventsv1.PublishResponse, error) { return nil, tc.err }}
			addr := serveEvents(t, s, "tcp", "127.0.0.1:0")
			code, stdout, stderr := execute(t.Context(), "", "publish", "--address", addr, "--type", "a")
			if code != exitFailure || stdout != "" {
				t.Errorf("code %d, stdout %q", code, stdout)
			}
			if diff := cmp.Diff(tc.want, stderr); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPublishGivesUpWaiting(t *testing.T) {
	release := make(chan struct{})
	s := &events{publish: func([]*eventsv1.Event) (*eventsv1.PublishResponse, error) {
		<-release
		return nil, errors.New("late")
	}}
	addr := serveEvents(t, s, "tcp", "127.0.0.1:0")
	defer close(release)
	code, _, stderr := execute(t.Context(), "", "publish", "--address", addr, "--type", "a", "--timeout", "50ms")
	if want := "sidehook: the sidecar at " + addr + " has not answered within 50ms\n"; code != exitFailure || stderr != want {
		t.Errorf("code %d, got %q, want %q", code, stderr, want)
	}
}

func TestPublishCount(t *testing.T) {
	s := &events{}
	addr := serveEvents(t, s, "tcp", "127.0.0.1:0")
	code, stdout, stderr := execute(t.Context(), "", "publish", "--address", addr, "--type", "a", "--id", "e", "--count", "1000")
	if code != exitOK || stderr != "" || stdout != "1000 events: 1000 accepted; 2000 deliveries\n" {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	got := s.all()
	if len(got) != 1000 || got[0].GetId() != "e-1" || got[999].GetId() != "e-1000" {
		t.Errorf("got %d events, from %s to %s", len(got), got[0].GetId(), got[len(got)-1].GetId())
	}
	code, stdout, _ = execute(t.Context(), "", "publish", "--address", addr, "--type", "a", "--count", "3", "--rate", "1000")
	if code != exitOK || strings.Count(stdout, "accepted") != 4 || !strings.Contains(stdout, "3 events: 3 accepted; 6 deliveries\n") {
		t.Errorf("code %d, stdout %q", code, stdout)
	}
	ids := map[string]bool{}
	for _, e := range s.all()[1000:] {
		ids[e.GetId()] = true
	}
	if len(ids) != 3 {
		t.Errorf("ids %v, want three different ones", ids)
	}
}

func TestPublishRate(t *testing.T) {
	s := &events{}
	addr := serveEvents(t, s, "tcp", "127.0.0.1:0")
	begin := time.Now()
	if code, _, stderr := execute(t.Context(), "", "publish", "--address", addr, "--type", "a", "--count", "11", "--rate", "50"); code != exitOK {
		t.Fatalf("code %d: %s", code, stderr)
	}
	if took := time.Since(begin); took < 180*time.Millisecond { // ten waits of 20 ms after the first
		t.Errorf("11 events at 50 a second took %s", took)
	}
}

const lineOf = `{"specversion":"1.0","id":"%s","source":"/s","type":"a.b","data":{"n": 1.0}}` + "\n"

func TestPublishFile(t *testing.T) {
	s := &events{}
	addr := serveEvents(t, s, "tcp", "127.0.0.1:0")
	in := fmt.Sprintf(lineOf, "1") + "\n" +
		`{"specversion":"1.0","id":"2","source":"/s","type":"a b"}` + "\n" +
		"not json\n" +
		`{"specversion":"1.0","id":"3","source":"/s","type":"t","time":"2026-01-02T03:04:05Z","app":"demo","orderingkey":"k",` +
		`"datacontenttype":"text/plain","data":"h\u00e9","traceparent":"x","n":7,"b":true}` + "\n" +
		`{"specversion":"1.0","id":"4","source":"/s","type":"t","datacontenttype":"x/y","data_base64":"AAH/"}`
	code, stdout, stderr := execute(t.Context(), in, "publish", "--address", addr, "--file", "-")
	if code != exitFailure {
		t.Errorf("code %d, want %d: two lines are bad", code, exitFailure)
	}
	wantOut := "ID  RESULT    DELIVERIES\n1   accepted  2\n3   accepted  2\n4   accepted  2\n5 events: 3 accepted, 2 refused; 6 deliveries\n"
	if diff := cmp.Diff(wantOut, stdout); diff != "" {
		t.Errorf("stdout (-want +got):\n%s", diff)
	}
	wantErr := "line 3: type: must be 1 to 256 of A-Z a-z 0-9 _ . : / -\nline 4: is not a JSON object: invalid character 'o' in literal null (expecting 'u')\n"
	if diff := cmp.Diff(wantErr, stderr); diff != "" {
		t.Errorf("stderr (-want +got):\n%s", diff)
	}
	got := s.all()
	if len(got) != 3 {
		t.Fatalf("got %d events", len(got))
	}
	if string(got[0].GetData()) != `{"n": 1.0}` {
		t.Errorf("JSON data was changed to %s", got[0].GetData())
	}
	third := got[1]
	if string(third.GetData()) != "hé" || third.GetApp() != "demo" || third.GetOrderingKey() != "k" ||
		fmt.Sprint(third.GetExtensions()) != "map[b:true n:7 traceparent:x]" || third.GetTime().AsTime().Year() != 2026 {
		t.Errorf("got %v", third)
	}
	if !bytes.Equal(got[2].GetData(), []byte{0, 1, 255}) {
		t.Errorf("binary data is %v", got[2].GetData())
	}
}

func TestPublishFileRefusedByTheSidecar(t *testing.T) {
	s := &events{answer: func(_ int, req *eventsv1.PublishStreamRequest) (*eventsv1.PublishStreamResponse, error) {
		return &eventsv1.PublishStreamResponse{Sequence: req.GetSequence(), Refusal: &eventsv1.Refusal{
			Code: int32(codes.NotFound), Message: "unknown app", Field: "events[1].app",
		}}, nil
	}}
	addr := serveEvents(t, s, "tcp", "127.0.0.1:0")
	in := "\n" + fmt.Sprintf(lineOf, "1") + fmt.Sprintf(lineOf, "2")
	code, stdout, stderr := execute(t.Context(), in, "publish", "--address", addr, "--file", "-")
	if code != exitFailure || stdout != "2 events: 2 refused; 0 deliveries\n" {
		t.Errorf("code %d, stdout %q", code, stdout)
	}
	want := "line 2: refused with the event of line 3\nline 3: the sidecar refused it: app: unknown app\n"
	if diff := cmp.Diff(want, stderr); diff != "" {
		t.Errorf("stderr (-want +got):\n%s", diff)
	}
	_, stdout, stderr = execute(t.Context(), in, "publish", "--address", addr, "--file", "-", "-o", "json")
	wantJSON := `{"line":2,"id":"1","deliveries":0,"error":"refused with the event of line 3"}` + "\n" +
		`{"line":3,"id":"2","deliveries":0,"error":"the sidecar refused it: app: unknown app"}` + "\n"
	if diff := cmp.Diff(wantJSON, stdout); diff != "" || stderr != "2 events: 2 refused; 0 deliveries\n" {
		t.Errorf("stdout (-want +got):\n%s\nstderr %s", diff, stderr)
	}
}

func TestPublishStreamThatFails(t *testing.T) {
	var forgotten atomic.Int32
	for name, tc := range map[string]struct {
		answer func(n int, req *eventsv1.PublishStreamRequest) (*eventsv1.PublishStreamResponse, error)
		want   string
	}{
		"stops": {
			func(n int, req *eventsv1.PublishStreamRequest) (*eventsv1.PublishStreamResponse, error) {
				if n == 0 {
					return &eventsv1.PublishStreamResponse{Sequence: req.GetSequence(), Results: accepted(req.GetEvents())}, nil
				}
				return nil, status.Error(codes.Unavailable, "the sidecar is stopping")
			},
			"sidehook: the sidecar went away: the sidecar is stopping\n",
		},
		"forgets": {
			func(n int, req *eventsv1.PublishStreamRequest) (*eventsv1.PublishStreamResponse, error) {
				if n == 0 {
					return &eventsv1.PublishStreamResponse{Sequence: req.GetSequence(), Results: accepted(req.GetEvents())}, nil
				}
				forgotten.Store(int32(n)) // how many batches there are is a matter of time
				return nil, nil
			},
			"sidehook: the sidecar ended the stream with FORGOTTEN batches unanswered: unexpected EOF\n",
		},
		"answers what was not asked": {
			func(_ int, req *eventsv1.PublishStreamRequest) (*eventsv1.PublishStreamResponse, error) {
				return &eventsv1.PublishStreamResponse{Sequence: req.GetSequence() + 100}, nil
			},
			"sidehook: the sidecar answered a batch 101 that was not sent\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serveEvents(t, &events{answer: tc.answer}, "tcp", "127.0.0.1:0")
			code, _, stderr := execute(t.Context(), "", "publish", "--address", addr, "--type", "a", "--count", "1000")
			want := strings.Replace(tc.want, "FORGOTTEN", strconv.Itoa(int(forgotten.Load())), 1)
			if code != exitFailure || !strings.HasSuffix(stderr, want) {
				t.Errorf("code %d, stderr %q, want %q at its end", code, stderr, want)
			}
		})
	}
}

// TestPublishStops: Ctrl-C sends no more, but what was sent is accounted for.
func TestPublishStops(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &events{answer: func(n int, req *eventsv1.PublishStreamRequest) (*eventsv1.PublishStreamResponse, error) {
		if n == 3 {
			cancel(errors.New("interrupt"))
		}
		return &eventsv1.PublishStreamResponse{Sequence: req.GetSequence(), Results: accepted(req.GetEvents())}, nil
	}}
	addr := serveEvents(t, s, "tcp", "127.0.0.1:0")
	code, stdout, stderr := execute(ctx, "", "publish", "--address", addr, "--type", "a", "--count", "100000000")
	if code != exitFailure || stderr != "sidehook: stopped before the end: interrupt\n" {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
	if want := fmt.Sprintf("%d events: %d accepted; ", len(s.all()), len(s.all())); !strings.HasPrefix(stdout, want) {
		t.Errorf("stdout %q, want %q", stdout, want)
	}
}

// TestPublishFromAPipe: events of a pipe that stays open do not wait for more, and Ctrl-C ends the wait for them.
func TestPublishFromAPipe(t *testing.T) {
	arrived := make(chan struct{}, 2)
	s := &events{answer: func(_ int, req *eventsv1.PublishStreamRequest) (*eventsv1.PublishStreamResponse, error) {
		arrived <- struct{}{}
		return &eventsv1.PublishStreamResponse{Sequence: req.GetSequence(), Results: accepted(req.GetEvents())}, nil
	}}
	addr := serveEvents(t, s, "tcp", "127.0.0.1:0")
	r, w := io.Pipe()
	defer w.Close() //nolint:errcheck // ends the reader
	ctx, cancel := context.WithCancelCause(t.Context())
	var out, errOut bytes.Buffer
	c := &cli{
		stdin: r, stdout: &out, stderr: &errOut, getenv: func(string) string { return "" }, processes: production(),
	}
	code := make(chan int, 1)
	go func() { code <- c.run(ctx, []string{"publish", "--address", addr, "--file", "-"}) }()
	for _, id := range []string{"1", "2"} {
		if _, err := fmt.Fprintf(w, lineOf, id); err != nil {
			t.Fatal(err)
		}
		<-arrived
	}
	cancel(errors.New("interrupt"))
	if got := <-code; got != exitFailure || !strings.Contains(out.String(), "2 events: 2 accepted") {
		t.Errorf("code %d, stdout %q, stderr %q", got, out.String(), errOut.String())
	}
}

func TestPublishLinesThatCannotBeRead(t *testing.T) {
	s := &events{}
	addr := serveEvents(t, s, "tcp", "127.0.0.1:0")
	in := fmt.Sprintf(lineOf, "1") + strings.Repeat("x", maxLine+1)
	code, stdout, stderr := execute(t.Context(), in, "publish", "--address", addr, "--file", "-")
	if code != exitFailure || !strings.Contains(stderr, "line 2 is over 2097152 bytes") || !strings.Contains(stdout, "accepted") {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestParseCloudEventRefuses(t *testing.T) {
	base := func(more string) string {
		return `{"specversion":"1.0","id":"1","source":"/s","type":"t"` + more + `}`
	}
	for in, want := range map[string]string{
		`[]`:                             "is not a JSON object",
		`null`:                           "specversion: is required",
		`{}`:                             "specversion: is required",
		`{"specversion":"0.3","id":"1"}`: "only 1.0 is known",
		`{"specversion":"1.0","source":"/s","type":"t"}`:          "id: is required",
		base(`,"time":"noon"`):                                    "time: ",
		base(`,"data":1,"data_base64":"AA=="`):                    "cannot stand beside",
		base(`,"data_base64":1`):                                  "data_base64: must be text",
		base(`,"data_base64":"%"`):                                "data_base64: is not base64",
		base(`,"datacontenttype":"text/plain","data":{"a":1}`):    "data: must be text",
		base(`,"subject":{"a":1}`):                                `"subject" must be text`,
		base(`,"Ext":"x"`):                                        "extensions: name",
		base(`,"data":"` + strings.Repeat("x", 1<<20) + `"`):      "too large",
		base(`,"datacontenttype":"text/plain; \u0000","data":""`): "data_content_type",
	} {
		if _, err := parseCloudEvent([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q in it", in, err, want)
		}
	}
}

func FuzzParseCloudEvent(f *testing.F) {
	for _, seed := range []string{
		fmt.Sprintf(lineOf, "1"), `{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"AA=="}`,
		`{"specversion":null}`, `{"specversion":"1.0","time":"2026-01-02T03:04:05Z","x":[1]}`, `{"":""}`, "{", "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := parseCloudEvent(line)
		if err == nil && (e.GetId() == "" || e.GetType() == "" || e.GetSource() == "") {
			t.Errorf("%q was taken without a required attribute: %v", line, e)
		}
	})
}

func TestCulprit(t *testing.T) {
	for field, want := range map[string]struct {
		at    int
		field string
	}{
		"events[3].type": {3, "type"}, "events[0]": {0, ""}, "": {-1, ""}, "app": {-1, "app"},
		"events[-1].x": {-1, "events[-1].x"}, "events[x": {-1, "events[x"},
		"events[12].extensions.a": {12, "extensions.a"},
	} {
		if at, rest := culprit(field); at != want.at || rest != want.field {
			t.Errorf("%q: %d, %q", field, at, rest)
		}
	}
}
