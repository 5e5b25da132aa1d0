package control

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// FleetOptions of a Fleet.
type FleetOptions struct {
	// Authenticate returns the apps that the credential of a stream allows, and the credential's id. Required.
	Authenticate func(ctx context.Context) (apps []string, credential string, err error)
	// Gone, when set, is told of each webhook whose endpoint answered 410 Gone at the given time; only webhooks of apps
	// that the credential allows. It is told again while a sidecar goes on reporting it. Usually Service.DisableGone.
	Gone func(ctx context.Context, k sidehook.WebhookKey, at time.Time) error
	// Health, when set, is told when attempts for a webhook last succeeded and last failed on a sidecar, zero for never, as
	// the sidecar reports it; only of apps that the credential allows. Usually Service.NoteHealth.
	Health func(ctx context.Context, k sidehook.WebhookKey, lastSuccess, lastFailure time.Time) error
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Logger; nil for none.
	Logger *slog.Logger
}

// Bounds of what the fleet remembers.
const (
	// MaxSidecars is how many sidecars are remembered; beyond it a new one is refused while all are connected.
	MaxSidecars = 10_000
	// forgetAfter is how long a sidecar that went away is listed.
	forgetAfter = 24 * time.Hour
	// helloWithin is how long a stream may take to say Hello.
	helloWithin   = 10 * time.Second
	maxRejections = 100
	maxGone       = 100
	maxShortText  = 255
	maxLongText   = 1024
)

// Fleet is the control plane's end of FleetService: it keeps the last report of each sidecar, in memory; after a restart
// the sidecars report again.
type Fleet struct {
	fleetv1.UnimplementedFleetServiceServer
	opts FleetOptions

	mu       sync.Mutex
	closed   bool
	sidecars map[sidecarKey]*sidecarState
	watchers map[*fleetWatcher]struct{}
	streams  sync.WaitGroup // goroutines that receive from streams and send to them
}

// sidecarKey: a sidecar chooses its id, so that ids of different credentials are different sidecars.
type sidecarKey struct{ credential, id string }

// compare orders sidecars by id, as lists show them.
func (k sidecarKey) compare(o sidecarKey) int {
	return cmp.Or(cmp.Compare(k.id, o.id), cmp.Compare(k.credential, o.credential))
}

type sidecarState struct {
	info   Sidecar
	stream *fleetStream // nil when it is not connected
	// health of the webhooks that it reported since its start; replaced by the first report of a stream, which tells
	// all.
	health map[sidehook.WebhookKey]WebhookHealth
	heard  bool // since it connected
}

// Sidecar is what is known of a sidecar.
type Sidecar struct {
	// Credential is the id of its token.
	Credential string
	ID         string
	Hostname   string
	Version    string
	// Apps that its credential allows.
	Apps      []string
	StartedAt time.Time
	Connected bool
	// LastSeen is when it connected, reported or went away.
	LastSeen time.Time

	// What it reported last; zero before its first report.
	Ready           bool
	Draining        bool // and so not ready, until its restart
	Stale           bool
	SnapshotVersion string
	Rejections      []Rejection
	Pending         uint64
	OldestAge       time.Duration
	Delivered       uint64
	Dead            uint64
	FailedAttempts  uint64
	Transformers    []TransformerStatus
}

// TransformerStatus is how a transformer fares on a sidecar.
type TransformerStatus struct {
	Name    string
	Version string
	State   TransformerState
	// Error says why it is not running.
	Error    string
	Restarts uint32
}

// TransformerState of a transformer on a sidecar.
type TransformerState string

// The states of a transformer on a sidecar.
const (
	TransformerIdle    TransformerState = "idle"    // installed; starts when a delivery needs it
	TransformerRunning TransformerState = "running" //
	TransformerFailing TransformerState = "failing" // cannot be started now; its webhooks' deliveries wait
	TransformerMissing TransformerState = "missing" // named by configuration, but not installed
)

// WebhookHealth is how a webhook fares, over all sidecars that reported of it since they started. Test events are left
// out.
type WebhookHealth struct {
	Delivered, Dead, FailedAttempts uint64
	// LastSuccess and LastFailure of an attempt; zero for never.
	LastSuccess, LastFailure time.Time
	// LastError is that of the last failure.
	LastError string
	// Paused says why deliveries wait although they are due; empty when they do not.
	Paused string
	// FilterErrors counts events that the webhook's filter had no answer for, and which it therefore did not get;
	// LastFilterError is what the filter said to the last of them, FilterErrorAt when.
	FilterErrors    uint64
	LastFilterError string
	FilterErrorAt   time.Time
}

// Rejection is a resource that a sidecar refused.
type Rejection struct {
	Resource string
	Reason   string
}

// NewFleet makes a fleet.
func NewFleet(opts FleetOptions) (*Fleet, error) {
	if opts.Authenticate == nil {
		return nil, errors.New("control: FleetOptions.Authenticate is required")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Fleet{
		opts: opts, sidecars: make(map[sidecarKey]*sidecarState), watchers: make(map[*fleetWatcher]struct{}),
	}, nil
}

// Register offers FleetService on a gRPC server.
func (f *Fleet) Register(g grpc.ServiceRegistrar) { fleetv1.RegisterFleetServiceServer(g, f) }

// Connect implements FleetService.
func (f *Fleet) Connect(stream grpc.BidiStreamingServer[fleetv1.ConnectRequest, fleetv1.ConnectResponse]) error {
	ctx := stream.Context()
	apps, credential, err := f.authenticate(ctx)
	if err != nil {
		return err
	}
	requests, err := f.receive(stream)
	if err != nil {
		return err
	}
	hello, err := awaitHello(ctx, requests)
	if err != nil {
		return err
	}
	key := sidecarKey{credential, hello.GetSidecarId()}
	mine, err := f.join(key, apps, hello)
	if err != nil {
		return err
	}
	defer f.leave(key, mine)
	// A token that was revoked before join had no stream to end, so it is asked for once more.
	if _, _, err := f.authenticate(ctx); err != nil {
		return err
	}
	f.opts.Logger.InfoContext(ctx, "sidecar connected", "sidecar", key.id, "token_id", credential)
	if err := stream.Send(&fleetv1.ConnectResponse{Payload: &fleetv1.ConnectResponse_Welcome{
		Welcome: &fleetv1.Welcome{Apps: apps},
	}}); err != nil {
		return err
	}
	if !f.attend(func() { mine.send(stream) }) {
		return errFleetClosed
	}
	return f.converse(ctx, key, mine, requests)
}

// authenticate returns errors as gRPC statuses.
func (f *Fleet) authenticate(ctx context.Context) (apps []string, credential string, err error) {
	apps, credential, err = f.opts.Authenticate(ctx)
	if errors.Is(err, ErrUnauthenticated) {
		return nil, "", status.Error(codes.Unauthenticated, err.Error())
	}
	if err != nil {
		f.opts.Logger.ErrorContext(ctx, "cannot authenticate a sidecar", "error", err)
		return nil, "", status.Error(codes.Unavailable, "cannot check the token now; try again")
	}
	return apps, credential, nil
}

// received is a request, or why there will be no more.
type received struct {
	request *fleetv1.ConnectRequest
	err     error
}

// receive reads the stream in a goroutine of its own, since only the end of the call can interrupt a read. It ends with
// the stream's context, which is soon after Connect has returned; Close waits for it.
func (f *Fleet) receive(stream grpc.BidiStreamingServer[fleetv1.ConnectRequest, fleetv1.ConnectResponse]) (<-chan received, error) {
	ch := make(chan received)
	ok := f.attend(func() {
		for {
			request, err := stream.Recv()
			select {
			case ch <- received{request, err}:
			case <-stream.Context().Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	if !ok {
		return nil, errFleetClosed
	}
	return ch, nil
}

// attend starts a goroutine that ends with its stream and that Close waits for; false when the Fleet is closed.
func (f *Fleet) attend(do func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.streams.Go(do)
	return true
}

var errFleetClosed = status.Error(codes.Unavailable, "control plane is stopping")

func awaitHello(ctx context.Context, requests <-chan received) (*fleetv1.Hello, error) {
	timer := time.NewTimer(helloWithin)
	defer timer.Stop()
	select {
	case r := <-requests:
		hello := r.request.GetHello()
		switch {
		case r.err != nil && !errors.Is(r.err, io.EOF):
			return nil, r.err
		case hello == nil: // also when the stream ended before there was any request
			return nil, status.Error(codes.InvalidArgument, "the first request must be a hello")
		case !sidehook.ValidName(hello.GetSidecarId()):
			return nil, status.Errorf(codes.InvalidArgument, "hello.sidecar_id: must be 1 to %d of A-Z a-z 0-9 _ -",
				sidehook.MaxNameLen)
		}
		return hello, nil
	case <-timer.C:
		return nil, status.Errorf(codes.DeadlineExceeded, "no hello within %s", helloWithin)
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// endOf is what Connect returns when the stream cannot be read any more.
func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// join notes that a sidecar is connected and ends the earlier stream of the same one.
func (f *Fleet) join(key sidecarKey, apps []string, hello *fleetv1.Hello) (*fleetStream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errFleetClosed
	}
	now := f.opts.Now()
	f.forget(now)
	state := f.sidecars[key]
	if state == nil {
		if len(f.sidecars) >= MaxSidecars {
			return nil, status.Errorf(codes.ResourceExhausted, "there are %d sidecars already", MaxSidecars)
		}
		state = &sidecarState{}
		f.sidecars[key] = state
	}
	if state.stream != nil {
		state.stream.end(status.Error(codes.Aborted, "the sidecar connected again"))
	}
	state.stream, state.heard = newFleetStream(), false
	state.info = Sidecar{
		Credential: key.credential, ID: key.id, Hostname: cut(hello.GetHostname(), maxShortText),
		Version: cut(hello.GetVersion(), maxShortText), Apps: apps, Connected: true, LastSeen: now,
	}
	if t := hello.GetStartedAt(); t.IsValid() {
		state.info.StartedAt = t.AsTime()
	}
	f.tellChange(apps)
	return state.stream, nil
}

// forget drops sidecars that went away long ago, and the longest gone when there are too many.
func (f *Fleet) forget(now time.Time) {
	var oldest sidecarKey
	var oldestSeen time.Time
	for key, state := range f.sidecars {
		switch {
		case state.stream != nil:
		case now.Sub(state.info.LastSeen) > forgetAfter:
			delete(f.sidecars, key)
		case oldestSeen.IsZero() || state.info.LastSeen.Before(oldestSeen):
			oldest, oldestSeen = key, state.info.LastSeen
		}
	}
	if len(f.sidecars) >= MaxSidecars && !oldestSeen.IsZero() {
		delete(f.sidecars, oldest)
	}
}

// leave notes that a sidecar went away, unless it has connected again meanwhile.
func (f *Fleet) leave(key sidecarKey, mine *fleetStream) {
	mine.end(nil) // for those who await answers
	f.mu.Lock()
	defer f.mu.Unlock()
	if state := f.sidecars[key]; state != nil && state.stream == mine {
		state.stream = nil
		state.info.Connected, state.info.Ready, state.info.Draining = false, false, false
		state.info.LastSeen = f.opts.Now()
		f.tellChange(state.info.Apps)
	}
}

func (f *Fleet) converse(ctx context.Context, key sidecarKey, mine *fleetStream, requests <-chan received) error {
	for {
		select {
		case r := <-requests:
			if r.err != nil {
				return endOf(r.err)
			}
			switch payload := r.request.GetPayload().(type) {
			case *fleetv1.ConnectRequest_Report:
				apps := f.reported(key, mine, payload.Report)
				f.tellGone(ctx, apps, payload.Report.GetGone())
				f.tellHealth(ctx, apps, payload.Report.GetWebhooks())
			case *fleetv1.ConnectRequest_Answer:
				mine.answer(payload.Answer)
			default:
				return status.Error(codes.InvalidArgument, "after the hello only reports and answers are expected")
			}
		case <-mine.over:
			return overOf(mine.err)
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// overOf is what Connect returns when the stream was ended from here.
func overOf(err error) error {
	if errors.Is(err, errStreamBroken) {
		return status.Error(codes.Unavailable, err.Error())
	}
	return err
}

// reported keeps a report and returns the apps that the sidecar's credential allows.
func (f *Fleet) reported(key sidecarKey, mine *fleetStream, r *fleetv1.Report) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := f.sidecars[key]
	if state == nil || state.stream != mine {
		return nil // it has connected again; this report is late
	}
	before := state.info
	state.keep(r, f.opts.Now())
	if news := state.keepHealth(r.GetWebhooks()); news || state.info.tellsNews(&before) {
		f.tellChange(state.info.Apps)
	}
	return state.info.Apps
}

// tellGone passes on what endpoints are gone. A failure is logged; the sidecar reports it again.
func (f *Fleet) tellGone(ctx context.Context, apps []string, gone []*fleetv1.GoneWebhook) {
	if f.opts.Gone == nil {
		return
	}
	for _, g := range gone[:min(maxGone, len(gone))] {
		k := sidehook.WebhookKey{App: g.GetApp(), ID: g.GetWebhook()}
		if !slices.Contains(apps, k.App) || !sidehook.ValidName(k.ID) || !g.GetAt().IsValid() {
			f.opts.Logger.WarnContext(ctx, "report of a gone webhook is ignored: not of an app that the token allows, or malformed")
			continue
		}
		if err := f.opts.Gone(ctx, k, g.GetAt().AsTime()); err != nil {
			f.opts.Logger.ErrorContext(ctx, "cannot disable a gone webhook", "app", k.App, "webhook", k.ID, "error", err)
		}
	}
}

// Sidecars lists the sidecars by id.
func (f *Fleet) Sidecars() []Sidecar {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(f.opts.Now())
	all := make([]Sidecar, 0, len(f.sidecars))
	for _, state := range f.sidecars {
		info := state.info // its slices are replaced, never changed
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b Sidecar) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Credential, b.Credential))
	})
	return all
}

// EndStreams ends the streams that were opened with a credential, because it was revoked. The sidecars of it are
// forgotten.
func (f *Fleet) EndStreams(credential string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, state := range f.sidecars {
		if key.credential != credential {
			continue
		}
		if state.stream != nil {
			state.stream.end(status.Error(codes.Unauthenticated, "the token was revoked"))
		}
		delete(f.sidecars, key)
		f.tellChange(state.info.Apps)
	}
}

// Close ends all streams and waits for them. Stop the gRPC server after it.
func (f *Fleet) Close() error {
	f.mu.Lock()
	f.closed = true
	for _, state := range f.sidecars {
		if state.stream != nil {
			state.stream.end(errFleetClosed)
		}
	}
	for w := range f.watchers {
		f.unwatch(w)
	}
	f.mu.Unlock()
	f.streams.Wait()
	return nil
}

// cut bounds a text that a sidecar sent, and makes it valid UTF-8.
func cut(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return string([]rune(s))
}
