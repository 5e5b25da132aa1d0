package server

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Limits of one stream.
const (
	maxTypes      = 32      // types asked for
	maxNames      = 100_000 // resource names of one type
	maxRejections = 100     // rejections remembered of one type
	maxText       = 1024    // bytes of a text that a client sent and we show
)

// stream is one connected client. It implements the callbacks of go-control-plane, which calls them from the stream's
// goroutine.
type stream struct {
	server  *Server
	sidecar string
	apps    []string // sorted, each once
	delta   bool
	since   time.Time

	ctx    context.Context
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	node  string
	types map[string]*typeState
}

// typeState is what is known of one subscription of a stream.
type typeState struct {
	nonce, sent    string   // of the latest response
	names          []string // that it held or removed
	acked          string   // version of the latest response that was accepted, whole or in part
	ackedAt        time.Time
	nacks          int
	rejected       map[string]Rejection
	lastError      string
	lastErrorNonce string
}

// endError is why the server ended a stream.
type endError struct {
	code codes.Code
	err  error
}

func (e *endError) Error() string { return e.err.Error() }
func (e *endError) Unwrap() error { return e.err }

// end makes the stream's handler return with that status.
func (st *stream) end(code codes.Code, err error) { st.cancel(&endError{code, err}) }

// result is what the handler returns: err as it came from the library, unless the server ended the stream.
func (st *stream) result(err error) error {
	var ended *endError
	if errors.As(context.Cause(st.ctx), &ended) {
		return status.Error(ended.code, ended.err.Error())
	}
	return err
}

func (st *stream) OnDeltaStreamOpen(context.Context, int64, string) error { return nil }
func (st *stream) OnDeltaStreamClosed(int64, *core.Node)                  {}
func (st *stream) OnStreamOpen(context.Context, int64, string) error      { return nil }
func (st *stream) OnStreamClosed(int64, *core.Node)                       {}

func (st *stream) OnStreamDeltaRequest(_ int64, req *discovery.DeltaDiscoveryRequest) error {
	delete(req.InitialResourceVersions, cursorKey) // ours: a client could only lie with it
	return st.onRequest(req.GetNode(), req.GetTypeUrl(), req.GetResponseNonce(), req.GetErrorDetail())
}

func (st *stream) OnStreamDeltaResponse(_ int64, _ *discovery.DeltaDiscoveryRequest,
	resp *discovery.DeltaDiscoveryResponse,
) {
	names := make([]string, 0, len(resp.GetResources())+len(resp.GetRemovedResources()))
	for _, r := range resp.GetResources() {
		names = append(names, r.GetName())
	}
	names = append(names, resp.GetRemovedResources()...)
	st.onResponse(resp.GetTypeUrl(), resp.GetNonce(), resp.GetSystemVersionInfo(), names)
}

func (st *stream) OnStreamRequest(_ int64, req *discovery.DiscoveryRequest) error {
	return st.onRequest(req.GetNode(), req.GetTypeUrl(), req.GetResponseNonce(), req.GetErrorDetail())
}

func (st *stream) OnStreamResponse(_ context.Context, _ int64, _ *discovery.DiscoveryRequest,
	resp *discovery.DiscoveryResponse,
) {
	st.onResponse(resp.GetTypeUrl(), resp.GetNonce(), resp.GetVersionInfo(), nil)
}

func (st *stream) onResponse(typeURL, nonce, version string, names []string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if ts := st.types[typeURL]; ts != nil {
		ts.nonce, ts.sent, ts.names = nonce, version, names
	}
}

// onRequest notes what the client accepted and refused.
func (st *stream) onRequest(node *core.Node, typeURL, nonce string, detail *rpcstatus.Status) error {
	st.mu.Lock()
	if id := node.GetId(); id != "" {
		st.node = clip(id)
	}
	ts := st.types[typeURL]
	if ts == nil {
		if len(st.types) >= maxTypes {
			st.mu.Unlock()
			return status.Errorf(codes.ResourceExhausted, "more than %d resource types on one stream", maxTypes)
		}
		ts = &typeState{rejected: make(map[string]Rejection)}
		st.types[typeURL] = ts
	}
	var nack *NACK
	answered := nonce != "" && nonce == ts.nonce
	if answered {
		nack = st.settle(ts, typeURL, nonce, detail)
	}
	ack := ACK{Sidecar: st.sidecar, TypeURL: typeURL, Version: ts.acked, At: ts.ackedAt}
	st.mu.Unlock()
	switch {
	case nack != nil:
		st.server.refused(nack)
	case answered && detail == nil && st.server.opts.OnACK != nil:
		st.server.opts.OnACK(ack)
	}
	return nil
}

// settle takes the answer to the latest response: what it held is not rejected any more, but for what the answer names.
// A delta client that names what it refuses applies the rest; one that names nothing, and a state-of-the-world client,
// applies nothing.
func (st *stream) settle(ts *typeState, typeURL, nonce string, detail *rpcstatus.Status) *NACK {
	now := time.Now()
	rejections := rejectionsOf(detail)
	if detail == nil || st.delta && len(rejections) > 0 {
		for _, name := range ts.names {
			delete(ts.rejected, name)
		}
		ts.acked, ts.ackedAt = ts.sent, now
	}
	ts.names = nil
	if detail == nil {
		ts.lastError = ""
		return nil
	}
	if ts.lastErrorNonce == nonce {
		return nil // said already
	}
	ts.nacks++
	ts.lastError, ts.lastErrorNonce = clip(detail.GetMessage()), nonce
	nack := &NACK{
		Sidecar: st.sidecar, Apps: st.apps, TypeURL: typeURL, Version: ts.sent, Message: ts.lastError, At: now,
	}
	for _, r := range rejections {
		nack.Rejections = append(nack.Rejections, r)
		if _, there := ts.rejected[r.Name]; there || len(ts.rejected) < maxRejections {
			ts.rejected[r.Name] = r
		}
	}
	return nack
}

// rejectionsOf reads the names from a refusal: a google.rpc.BadRequest among its details has them as fields.
func rejectionsOf(detail *rpcstatus.Status) []Rejection {
	var all []Rejection
	for _, d := range detail.GetDetails() {
		bad := new(errdetails.BadRequest)
		if d.UnmarshalTo(bad) != nil {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			if len(all) == maxRejections {
				return all
			}
			all = append(all, Rejection{Name: clip(v.GetField()), Reason: clip(v.GetDescription())})
		}
	}
	return all
}

func clip(s string) string {
	if len(s) > maxText {
		return s[:maxText] + "…"
	}
	return s
}

// status describes the stream.
func (st *stream) status() StreamStatus {
	st.mu.Lock()
	defer st.mu.Unlock()
	out := StreamStatus{
		Sidecar: st.sidecar, Apps: st.apps, NodeID: st.node, Delta: st.delta, ConnectedAt: st.since,
		Types: make(map[string]TypeStatus, len(st.types)),
	}
	for typeURL, ts := range st.types {
		t := TypeStatus{
			Sent: ts.sent, Acked: ts.acked, AckedAt: ts.ackedAt, NACKs: ts.nacks, LastError: ts.lastError,
		}
		for _, name := range slices.Sorted(maps.Keys(ts.rejected)) {
			t.Rejections = append(t.Rejections, ts.rejected[name])
		}
		out.Types[typeURL] = t
	}
	return out
}
