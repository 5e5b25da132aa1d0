package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage/memkv"
)

// saidStream is the control plane's side of a stream on which a sidecar says what is recorded, and then nothing more.
type saidStream struct {
	grpc.BidiStreamingServer[fleetv1.ConnectRequest, fleetv1.ConnectResponse]
	ctx  context.Context
	left []*fleetv1.ConnectRequest
}

func (s *saidStream) Context() context.Context            { return s.ctx }
func (s *saidStream) Send(*fleetv1.ConnectResponse) error { return nil }

func (s *saidStream) Recv() (*fleetv1.ConnectRequest, error) {
	if len(s.left) == 0 {
		return nil, io.EOF
	}
	r := s.left[0]
	s.left = s.left[1:]
	return r, nil
}

// FuzzConnect: whatever a sidecar says, its stream ends with it, what it says counts for webhooks of its own apps only,
// and the fleet and the health of its webhooks can be shown.
func FuzzConnect(f *testing.F) {
	hello := &fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Hello{Hello: &fleetv1.Hello{
		SidecarId: "car-1", Hostname: "host", Version: "1", StartedAt: timestamppb.New(time.Unix(1_700_000_000, 0)),
	}}}
	report := func(r *fleetv1.Report) *fleetv1.ConnectRequest {
		return &fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Report{Report: r}}
	}
	seed := func(all ...*fleetv1.ConnectRequest) {
		var b bytes.Buffer
		for _, r := range all {
			if _, err := protodelim.MarshalTo(&b, r); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(b.Bytes())
	}
	seed()
	seed(hello)
	seed(hello, hello)
	seed(report(&fleetv1.Report{}))
	seed(hello, report(&fleetv1.Report{
		Ready: true, SnapshotVersion: "v", Pending: 1 << 63, OldestAge: &durationpb.Duration{Seconds: 1 << 62, Nanos: -5}, Delivered: 1<<64 - 1, Dead: 1<<64 - 1,
		Rejections:   []*fleetv1.Rejection{{}},
		Gone:         []*fleetv1.GoneWebhook{{App: "demo", Webhook: "w"}, {App: "other", Webhook: "w"}, {App: "a/b", Webhook: "\x00"}},
		Transformers: []*fleetv1.TransformerStatus{{Name: "x", State: 99, Error: "e"}, {Name: "x"}},
		Webhooks: []*fleetv1.WebhookHealth{
			{App: "demo", Webhook: "w", Delivered: 5, LastSuccess: &timestamppb.Timestamp{Seconds: -1 << 62}, LastError: "x", FilterErrors: 1},
			{App: "other", Webhook: "w", LastFailure: &timestamppb.Timestamp{Nanos: 2_000_000_000}},
		},
	}), report(&fleetv1.Report{Draining: true}))
	seed(hello, &fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Answer{Answer: &fleetv1.Answer{}}}, &fleetv1.ConnectRequest{})

	svc, err := control.New(control.Options{KV: memkv.New()})
	if err != nil {
		f.Fatal(err)
	}
	if _, _, err := svc.PutApp(f.Context(), "demo", control.AppSpec{}); err != nil {
		f.Fatal(err)
	}
	w, _, err := svc.CreateWebhook(f.Context(), sidehook.Webhook{App: "demo", Name: "w", URL: "https://example.com/in", Events: []string{"*"}})
	if err != nil {
		f.Fatal(err)
	}
	_, admin, err := svc.CreateToken(f.Context(), control.TokenSpec{Name: "admin", Kind: control.TokenAdmin})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var mu sync.Mutex
		var told []sidehook.WebhookKey
		tell := func(k sidehook.WebhookKey) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, k)
		}
		fleet, err := control.NewFleet(control.FleetOptions{
			Authenticate: func(context.Context) ([]string, string, error) { return []string{"demo"}, "tok_1", nil },
			Gone:         func(_ context.Context, k sidehook.WebhookKey, _ time.Time) error { tell(k); return nil },
			Health:       func(_ context.Context, k sidehook.WebhookKey, _, _ time.Time) error { tell(k); return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		g := &saidStream{ctx: ctx}
		reader := bytes.NewReader(data)
		for {
			r := new(fleetv1.ConnectRequest)
			if protodelim.UnmarshalFrom(reader, r) != nil {
				break
			}
			g.left = append(g.left, r)
		}
		_ = fleet.Connect(g) // an error is an answer too
		cancel()             // as gRPC does when the call has returned
		handler := control.NewHandler(svc, fleet, control.HandlerOptions{})
		for _, path := range []string{"/v1/sidecars", "/v1/apps/demo/webhooks/" + w.ID, "/v1/apps/demo/webhooks"} {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("Authorization", "Bearer "+admin)
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, r)
			if answer.Code != http.StatusOK || !json.Valid(answer.Body.Bytes()) {
				t.Fatalf("%s is answered %d %s", path, answer.Code, answer.Body)
			}
		}
		if err := fleet.Close(); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, k := range told {
			if k.App != "demo" || !sidehook.ValidName(k.ID) {
				t.Fatalf("what is said of %+v counts", k)
			}
		}
	})
}
