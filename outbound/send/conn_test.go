package send

import (
	"context"
	"runtime"
	"testing"
	"time"
)

func (cn *conn) isAborted() bool {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	return cn.aborted
}

// The watch of a context outlives a request. When it fires between two requests, the next one with that context
// must be aborted all the same, and one with another context must not.
func TestWatchThatFiresBetweenRequests(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cn := &conn{Conn: &tape{}}
	later := time.Now().Add(time.Hour)
	if err := cn.begin(ctx, later); err != nil || !cn.end() {
		t.Fatalf("first request: %v", err)
	}
	cancel()
	for !cn.isAborted() { // the watch fires in its own time
		runtime.Gosched()
	}
	if err := cn.begin(ctx, later); err != nil || cn.end() {
		t.Errorf("a request with the ended context is not aborted: %v", err)
	}
	if err := cn.begin(t.Context(), later); err != nil || !cn.end() {
		t.Errorf("a request with another context is aborted: %v", err)
	}
	cn.unwatch()
}

// A watch of an earlier request's context that fires late leaves the request in flight alone.
func TestLateWatchOfAnEarlierRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cn := &conn{Conn: &tape{}}
	later := time.Now().Add(time.Hour)
	if err := cn.begin(ctx, later); err != nil {
		t.Fatal(err)
	}
	if err := cn.begin(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	cn.abort(ctx.Done())
	if !cn.end() {
		t.Error("aborted by the end of another request's context")
	}
	cn.abort(t.Context().Done())
	if cn.end() {
		t.Error("not aborted by its own")
	}
	cn.unwatch()
}
