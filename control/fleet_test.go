package control_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/control"
)

type fleetStream = grpc.BidiStreamingClient[fleetv1.ConnectRequest, fleetv1.ConnectResponse]

// fleetClient dials the plane's fleet over a real gRPC connection on loopback.
func (p *plane) fleetClient() fleetv1.FleetServiceClient {
	p.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	p.check(err)
	server := grpc.NewServer()
	p.fleet.Register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	p.check(err)
	p.t.Cleanup(func() {
		p.check(conn.Close())
		server.Stop()
		p.check(<-served)
	})
	return fleetv1.NewFleetServiceClient(conn)
}

func (p *plane) connect(c fleetv1.FleetServiceClient, token string) fleetStream {
	p.t.Helper()
	ctx := metadata.AppendToOutgoingContext(p.t.Context(), "authorization", "Bearer "+token)
	stream, err := c.Connect(ctx)
	p.check(err)
	return stream
}

func hello(id string) *fleetv1.ConnectRequest {
	return &fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Hello{Hello: &fleetv1.Hello{
		SidecarId: id, Hostname: "host-1", Version: "1.2.3", StartedAt: timestamppb.New(time.Unix(1000, 0)),
	}}}
}

func report(r *fleetv1.Report) *fleetv1.ConnectRequest {
	return &fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Report{Report: r}}
}

// greet says hello and returns the apps of the welcome.
func (p *plane) greet(stream fleetStream, id string) []string {
	p.t.Helper()
	p.check(stream.Send(hello(id)))
	answer, err := stream.Recv()
	p.check(err)
	return answer.GetWelcome().GetApps()
}

// wantEnd waits until the stream ends with the code.
func wantEnd(t *testing.T, stream fleetStream, code codes.Code, words string) {
	t.Helper()
	_, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if status.Code(err) != code || !strings.Contains(status.Convert(err).Message(), words) {
		t.Errorf("stream ended with %v, want %v with %q", err, code, words)
	}
}

// sidecars waits until the API's list of sidecars is as wanted.
func (p *plane) sidecars(as func([]map[string]any) bool) []map[string]any {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		list := p.do(p.admin, "GET", "/v1/sidecars", "").want(200).data()
		if as(list) {
			return list
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("sidecars are %v", list)
		}
	}
}

func TestFleet(t *testing.T) {
	p := newPlane(t)
	p.makeApp("a")
	p.makeApp("b")
	token, tokenID := p.makeToken("sidecar", "a", "b")
	client := p.fleetClient()
	stream := p.connect(client, token)
	if apps := p.greet(stream, "side-1"); strings.Join(apps, " ") != "a b" {
		t.Errorf("welcome says %q", apps)
	}
	s := p.sidecars(func(l []map[string]any) bool { return len(l) == 1 })[0]
	if s["id"] != "side-1" || s["token_id"] != tokenID || s["hostname"] != "host-1" || s["version"] != "1.2.3" ||
		s["connected"] != true || s["ready"] != false || s["started_at"] != "1970-01-01T00:16:40Z" {
		t.Errorf("after hello: %v", s)
	}
	p.check(stream.Send(report(&fleetv1.Report{
		Ready: true, Draining: true, Stale: true, SnapshotVersion: "v7", Pending: 12, OldestAge: durationpb.New(90 * time.Second),
		Delivered: 5, Dead: 2, FailedAttempts: 9,
		Rejections: []*fleetv1.Rejection{{Resource: "apps/a/webhooks/x", Reason: "url: has no host"}},
	})))
	s = p.sidecars(func(l []map[string]any) bool { return l[0]["ready"] == true })[0]
	if s["draining"] != true || s["stale"] != true || s["snapshot_version"] != "v7" || s["pending"] != 12.0 || s["oldest_age"] != "1m30s" ||
		s["delivered"] != 5.0 || s["dead"] != 2.0 || s["failed_attempts"] != 9.0 ||
		s["rejections"].([]any)[0].(map[string]any)["resource"] != "apps/a/webhooks/x" {
		t.Errorf("after the report: %v", s)
	}

	again := p.connect(client, token)
	p.greet(again, "side-1")
	wantEnd(t, stream, codes.Aborted, "connected again")
	p.sidecars(func(l []map[string]any) bool { return len(l) == 1 && l[0]["connected"] == true })
	p.check(again.CloseSend())
	wantEnd(t, again, codes.OK, "")
	p.sidecars(func(l []map[string]any) bool { return len(l) == 1 && l[0]["connected"] == false })
}

func TestFleetRefuses(t *testing.T) {
	p := newPlane(t)
	p.makeApp("a")
	sidecar, _ := p.makeToken("sidecar", "a")
	app, _ := p.makeToken("app", "a")
	client := p.fleetClient()
	for name, c := range map[string]struct {
		token string
		first *fleetv1.ConnectRequest
		code  codes.Code
		words string
	}{
		"no token":      {"", hello("x"), codes.Unauthenticated, "token"},
		"unknown token": {"sht_" + strings.Repeat("A", 43), hello("x"), codes.Unauthenticated, "token"},
		"app token":     {app, hello("x"), codes.Unauthenticated, "not for sidecars"},
		"admin token":   {p.admin, hello("x"), codes.Unauthenticated, "not for sidecars"},
		"no hello":      {sidecar, report(&fleetv1.Report{}), codes.InvalidArgument, "hello"},
		"nothing":       {sidecar, &fleetv1.ConnectRequest{}, codes.InvalidArgument, "hello"},
		"no id":         {sidecar, hello(""), codes.InvalidArgument, "sidecar_id"},
		"bad id":        {sidecar, hello("a/b"), codes.InvalidArgument, "sidecar_id"},
	} {
		t.Run(name, func(t *testing.T) {
			stream := p.connect(client, c.token)
			if err := stream.Send(c.first); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			wantEnd(t, stream, c.code, c.words)
		})
	}
	stream := p.connect(client, sidecar)
	p.greet(stream, "x")
	p.check(stream.Send(hello("x")))
	wantEnd(t, stream, codes.InvalidArgument, "reports")
}

func TestFleetBoundsReports(t *testing.T) {
	p := newPlane(t)
	p.makeApp("a")
	token, _ := p.makeToken("sidecar", "a")
	stream := p.connect(p.fleetClient(), token)
	p.greet(stream, "x")
	r := &fleetv1.Report{Ready: true, SnapshotVersion: strings.Repeat("v", 5000), OldestAge: durationpb.New(-time.Hour)}
	for range 1000 {
		r.Rejections = append(r.Rejections, &fleetv1.Rejection{Resource: "r", Reason: strings.Repeat("é", 2000)})
		r.Gone = append(r.Gone, &fleetv1.GoneWebhook{App: "other", Webhook: "../x"})
	}
	p.check(stream.Send(report(r)))
	s := p.sidecars(func(l []map[string]any) bool { return len(l) == 1 && l[0]["ready"] == true })[0]
	rejections := s["rejections"].([]any)
	if len(rejections) != 100 || len(rejections[0].(map[string]any)["reason"].(string)) > 1100 ||
		len(s["snapshot_version"].(string)) > 255 || s["oldest_age"] != "0s" {
		t.Errorf("kept %d rejections, %v, version of %d", len(rejections), s["oldest_age"], len(s["snapshot_version"].(string)))
	}
}

func TestFleetDisablesGoneWebhooks(t *testing.T) {
	p := newPlane(t)
	p.makeApp("mine")
	p.makeApp("theirs")
	mine, _ := p.makeWebhook("mine", "a")
	theirs, _ := p.makeWebhook("theirs", "a")
	token, _ := p.makeToken("sidecar", "mine")
	stream := p.connect(p.fleetClient(), token)
	p.greet(stream, "x")
	now := timestamppb.Now()
	p.check(stream.Send(report(&fleetv1.Report{Gone: []*fleetv1.GoneWebhook{
		{App: "theirs", Webhook: theirs, At: now},
		{App: "mine", Webhook: "none", At: now},
		{App: "mine", Webhook: mine},
		{App: "mine", Webhook: mine, At: now},
	}})))
	p.check(stream.CloseSend())
	wantEnd(t, stream, codes.OK, "") // all before it was handled
	w := p.do(p.admin, "GET", "/v1/apps/mine/webhooks/"+mine, "").want(200)
	if w.str("status") != "disabled" || w.str("disabled_reason") != control.ReasonGone {
		t.Errorf("the gone webhook is %s", w.raw)
	}
	if r := p.pub.get("mine", "apps/mine/webhooks/"+mine); r.Webhook.DisabledReason != control.ReasonGone {
		t.Errorf("published %+v", r.Webhook)
	}
	if w := p.do(p.admin, "GET", "/v1/apps/theirs/webhooks/"+theirs, ""); w.str("status") != "enabled" {
		t.Errorf("the webhook of another app is %s", w.raw)
	}
}

func TestRevokedTokenEndsFleetStream(t *testing.T) {
	p := newPlane(t)
	p.makeApp("a")
	token, id := p.makeToken("sidecar", "a")
	other, _ := p.makeToken("sidecar", "a")
	client := p.fleetClient()
	stream, kept := p.connect(client, token), p.connect(client, other)
	p.greet(stream, "x")
	p.greet(kept, "x") // the same id with another token is another sidecar
	p.sidecars(func(l []map[string]any) bool { return len(l) == 2 })
	p.do(p.admin, "DELETE", "/v1/tokens/"+id, "").want(204)
	wantEnd(t, stream, codes.Unauthenticated, "revoked")
	p.sidecars(func(l []map[string]any) bool { return len(l) == 1 && l[0]["connected"] == true })
	wantEnd(t, p.connect(client, token), codes.Unauthenticated, "token")
	p.check(p.fleet.Close())
	wantEnd(t, kept, codes.Unavailable, "stopping")
}

// TestTokenRevokedWhileConnecting revokes the token between its check and the moment the sidecar is listed, when there
// is no stream yet to end.
func TestTokenRevokedWhileConnecting(t *testing.T) {
	p := newPlane(t)
	p.makeApp("a")
	token, id := p.makeToken("sidecar", "a")
	fleet, err := control.NewFleet(control.FleetOptions{
		Authenticate: func(ctx context.Context) ([]string, string, error) {
			apps, credential, err := p.svc.AuthenticateSidecar(ctx)
			if err == nil {
				err = p.svc.RevokeToken(ctx, id)
			}
			return apps, credential, err
		},
	})
	p.check(err)
	p.check(p.fleet.Close())
	p.fleet = fleet
	stream := p.connect(p.fleetClient(), token)
	p.check(stream.Send(hello("x")))
	wantEnd(t, stream, codes.Unauthenticated, "token")
}
