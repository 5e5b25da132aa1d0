package client

import (
	"fmt"
	"strings"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/sidehook/sidehook/xds"
)

func TestBackoff(t *testing.T) {
	half := func() float64 { return 0.5 }
	var w wait
	var got []time.Duration
	for range 10 {
		got = append(got, w.next(DefaultBackoff, half).Round(time.Millisecond))
	}
	want := []time.Duration{1000, 1600, 2560, 4096, 6554, 10486, 16777, 26844, 30000, 30000}
	for i := range want {
		if got[i] != want[i]*time.Millisecond {
			t.Errorf("wait %d is %s, want %s", i, got[i], want[i]*time.Millisecond)
		}
	}
	w = 0
	if low := w.next(DefaultBackoff, func() float64 { return 0 }); low != 800*time.Millisecond {
		t.Errorf("lowest first wait %s", low)
	}
	w = 0
	if high := w.next(DefaultBackoff, func() float64 { return 0.999999 }); high < 1199*time.Millisecond || high > 1200*time.Millisecond {
		t.Errorf("highest first wait %s", high)
	}
}

func TestOptions(t *testing.T) {
	for _, opts := range []Options{{}, {Conn: nil, Apply: func(*xds.Snapshot) error { return nil }}} {
		if err := New(opts).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "Options.Conn") {
			t.Errorf("got %v", err)
		}
	}
}

func policies(n int) *discovery.DeltaDiscoveryResponse {
	resp := &discovery.DeltaDiscoveryResponse{TypeUrl: xds.AppPolicyType}
	for i := range n {
		r := xds.OfAppPolicy(&xds.AppPolicy{App: fmt.Sprintf("app-with-a-rather-long-name-%06d", i)})
		body, err := r.Any()
		if err != nil {
			panic(err)
		}
		resp.Resources = append(resp.Resources, &discovery.Resource{Name: r.Name, Version: r.Version(), Resource: body})
	}
	return resp
}

// TestOfferFitsARequest: with more than a request holds, the rest is taken from the first whole response: what is not
// in it is gone.
func TestOfferFitsARequest(t *testing.T) {
	s := newState()
	s.begin()
	all := policies(60_000)
	if bad := s.take(all, func(*xds.Resource) error { return nil }); len(bad) != 0 {
		t.Fatal(bad)
	}
	s.commit(s.builder.Build(), time.Time{})

	s.begin()
	offered := s.offer(xds.AppPolicyType)
	size := 0
	for name, version := range offered {
		size += len(name) + len(version) + 8
	}
	if size > 3<<20 || len(offered) == 60_000 {
		t.Fatalf("%d are offered, %d bytes", len(offered), size)
	}
	// The server sends what it was not told of, but for one that is gone meanwhile; in two pieces.
	var rest []*discovery.Resource
	for _, r := range all.GetResources() {
		if offered[r.GetName()] == "" {
			rest = append(rest, r)
		}
	}
	gone := rest[0].GetName()
	s.take(&discovery.DeltaDiscoveryResponse{
		TypeUrl: xds.AppPolicyType, Resources: rest[1:10], SystemVersionInfo: xds.MorePrefix,
	}, func(*xds.Resource) error { return nil })
	if s.whole() || s.staged[gone] != nil {
		t.Error("a piece was taken for the whole")
	}
	s.take(&discovery.DeltaDiscoveryResponse{TypeUrl: xds.AppPolicyType, Resources: rest[10:]},
		func(*xds.Resource) error { return nil })
	s.commit(s.builder.Build(), time.Time{})
	if entries := s.types[xds.AppPolicyType].entries; len(entries) != 59_999 || entries[gone] != nil {
		t.Errorf("%d are left", len(entries))
	}
	if s.builder.Len() != 59_999 {
		t.Errorf("%d are live", s.builder.Len())
	}
}

func TestDetailIsBounded(t *testing.T) {
	bad := make(map[string]string)
	for i := range 5000 {
		bad[fmt.Sprintf("apps/a/webhooks/%d-%s", i, strings.Repeat("é", 600))] = strings.Repeat("x", 2000)
	}
	detail := detailOf(bad, nil)
	if len(detail.GetMessage()) > 20<<10 || !strings.Contains(detail.GetMessage(), "more") {
		t.Errorf("message of %d bytes", len(detail.GetMessage()))
	}
}
