package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sidehook/sidehook/xds"
)

// maxReceive bounds one response. Our control plane cuts its responses into pieces far smaller; others may not.
const maxReceive = 64 << 20

// stream connects once and works until the connection ends. It reports whether a response was taken, so that the next
// wait is a short one.
func (c *Client) stream(parent context.Context) (took bool, err error) {
	ctx, cancel := context.WithCancelCause(parent)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel(nil)

	c.mu.Lock()
	c.state.begin()
	c.stats.connectAttempts++
	c.mu.Unlock()

	ads, err := c.connect(ctx, cancel)
	if err != nil {
		return false, err
	}
	requests := make(chan *discovery.DeltaDiscoveryRequest, 4*len(xds.Types))
	helpers.Go(func() { send(ctx, cancel, ads, requests) })
	helpers.Go(func() { c.watch(ctx, cancel) })
	put := func(req *discovery.DeltaDiscoveryRequest) {
		select {
		case requests <- req:
		case <-ctx.Done():
		}
	}

	for i, typeURL := range xds.Types {
		c.mu.Lock()
		req := &discovery.DeltaDiscoveryRequest{
			TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}, InitialResourceVersions: c.state.offer(typeURL),
		}
		c.mu.Unlock()
		if i == 0 {
			req.Node = c.node
		}
		put(req)
	}
	for {
		// Backpressure: the next response is read only when this one was applied and answered.
		resp, err := ads.Recv()
		if err != nil {
			return took, ended(ctx, err)
		}
		c.note(func(s *stats) { s.connected, s.lastError = true, "" })
		answer, err := c.handle(resp)
		c.opts.OnResponse()
		if answer != nil {
			put(answer)
		}
		if err != nil {
			finish(ads, cancel, requests, &helpers)
			return took, err
		}
		took = true
	}
}

// connect opens the stream. How often the connection itself is tried is up to Options.Conn; ClientConn's
// ResetConnectBackoff would cut that short, and can kill the process: it walks a map that others change (grpc-go #9155).
func (c *Client) connect(ctx context.Context, cancel context.CancelCauseFunc) (
	discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, error,
) {
	limit := time.AfterFunc(c.opts.ConnectTimeout, func() {
		cancel(fmt.Errorf("no connection within %s", c.opts.ConnectTimeout))
	})
	defer limit.Stop()
	ads, err := discovery.NewAggregatedDiscoveryServiceClient(c.opts.Conn).DeltaAggregatedResources(ctx,
		grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(maxReceive))
	if err != nil {
		return nil, fmt.Errorf("connecting to the control plane: %w", err)
	}
	return ads, nil
}

// ended says why a stream ended: our own reason if there is one.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the control plane closed the stream")
	}
	return fmt.Errorf("stream from the control plane: %w", err)
}

// send is the only one to send on a stream. It is apart from receiving because each end may have to read before the
// other can go on writing.
func send(ctx context.Context, cancel context.CancelCauseFunc,
	ads discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient,
	requests <-chan *discovery.DeltaDiscoveryRequest,
) {
	for {
		select {
		case <-ctx.Done():
			return
		case req, more := <-requests:
			if !more {
				_ = ads.CloseSend() // the stream is being given up
				return
			}
			err := ads.Send(req)
			switch {
			case errors.Is(err, io.EOF): // Recv knows why
				return
			case err != nil:
				cancel(fmt.Errorf("stream to the control plane: %w", err))
				return
			}
		}
	}
}

// finish lets the last answers out before a stream is given up, for at most a second.
func finish(ads discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, cancel context.CancelCauseFunc,
	requests chan *discovery.DeltaDiscoveryRequest, helpers *sync.WaitGroup,
) {
	limit := time.AfterFunc(time.Second, func() { cancel(errors.New("giving the stream up")) })
	defer limit.Stop()
	close(requests)
	for {
		if _, err := ads.Recv(); err != nil { // the server closes its side after ours
			break
		}
	}
	cancel(nil)
	helpers.Wait()
}

// watch ends the stream for Resync, and says once which types the control plane does not answer.
func (c *Client) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	slow := time.NewTimer(c.opts.FirstResponseTimeout)
	defer slow.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.resync:
			cancel(errResync)
			return
		case <-slow.C:
			c.mu.Lock()
			waiting := c.state.waiting()
			c.mu.Unlock()
			if len(waiting) > 0 {
				c.log.Warn("the control plane does not answer for all resource types", "types", waiting)
			}
		}
	}
}

// handle takes one response and returns its answer, nil for none. An error ends the stream, after the answer.
func (c *Client) handle(resp *discovery.DeltaDiscoveryResponse) (*discovery.DeltaDiscoveryRequest, error) {
	typeURL := resp.GetTypeUrl()
	answer := &discovery.DeltaDiscoveryRequest{TypeUrl: typeURL, ResponseNonce: resp.GetNonce()}
	now := time.Now()

	c.mu.Lock()
	c.stats.attempts++
	if c.state.types[typeURL] == nil {
		c.mu.Unlock()
		c.log.Warn("the control plane sent a type that was not asked for", "type", typeURL)
		return nil, nil
	}
	bad := c.state.take(resp, c.opts.Check)
	c.settle(resp, bad, now)
	whole := c.state.whole()
	c.mu.Unlock()

	var err error
	if whole {
		var refused []string
		if refused, err = c.apply(now); err != nil {
			for _, name := range refused {
				bad[name] = err.Error()
			}
		}
	}
	if len(bad) == 0 && err == nil {
		c.note(func(s *stats) { s.successes++ })
		return answer, nil
	}
	c.note(func(s *stats) { s.rejections++ })
	answer.ErrorDetail = detailOf(bad, err)
	c.log.Warn("configuration was refused", "type", typeURL, "resources", len(bad),
		"error", answer.GetErrorDetail().GetMessage())
	return answer, err
}

// settle notes what is refused of a response, and that the rest of it is not any more.
func (c *Client) settle(resp *discovery.DeltaDiscoveryResponse, bad map[string]string, now time.Time) {
	versions := make(map[string]string, len(bad))
	for _, r := range resp.GetResources() {
		if _, refused := bad[r.GetName()]; refused {
			versions[r.GetName()] = r.GetVersion()
		} else {
			c.state.accept(resp.GetTypeUrl(), r.GetName())
		}
	}
	c.state.refuse(resp.GetTypeUrl(), versions, bad, now)
}

// apply makes what is staged live. On an error it returns the names that stay as they were.
func (c *Client) apply(now time.Time) (refused []string, err error) {
	c.mu.Lock()
	if c.state.synced && len(c.state.staged) == 0 {
		c.mu.Unlock()
		return nil, nil
	}
	snapshot := c.state.builder.Build()
	c.mu.Unlock()

	err = c.opts.Apply(snapshot) // without the lock: it may ask for Status

	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		return c.state.rollback(), fmt.Errorf("snapshot %s could not be applied: %w", snapshot.Version, err)
	}
	c.state.commit(snapshot, now)
	c.state.synced = true
	c.stats.appliedAt = now
	c.log.Info("configuration applied", "version", snapshot.Version)
	select {
	case c.dirty <- struct{}{}:
	default: // it is known already
	}
	return nil, nil
}

// Limits of a refusal's size.
const (
	maxDetails = 100
	maxMessage = 16 << 10
	maxReason  = 512
)

// detailOf words a refusal: all names with their reasons in the message, and the first of them as a BadRequest whose
// fields are the names, for programs.
func detailOf(bad map[string]string, cause error) *rpcstatus.Status {
	detail := &rpcstatus.Status{Code: int32(codes.InvalidArgument)}
	violations := &errdetails.BadRequest{}
	var message strings.Builder
	if len(bad) == 0 {
		message.WriteString(clip(cause.Error()))
	}
	for i, name := range slices.Sorted(maps.Keys(bad)) {
		name, reason := clip(name), clip(bad[name])
		if len(violations.GetFieldViolations()) < maxDetails {
			violations.FieldViolations = append(violations.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: name, Description: reason,
			})
		}
		if message.Len() > maxMessage {
			fmt.Fprintf(&message, "; and %d more", len(bad)-i)
			break
		}
		if i > 0 {
			message.WriteString("; ")
		}
		message.WriteString(name + ": " + reason)
	}
	detail.Message = message.String()
	if more, err := anypb.New(violations); err == nil && len(bad) > 0 {
		detail.Details = append(detail.Details, more)
	}
	return detail
}

func clip(s string) string {
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
