package client

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds"
)

// wireOf is a resource as it is sent and saved.
func wireOf(f *testing.F, r *xds.Resource) *discovery.Resource {
	f.Helper()
	body, err := r.Any()
	if err != nil {
		f.Fatal(err)
	}
	return &discovery.Resource{Name: r.Name, Version: r.Version(), Resource: body}
}

func sampleResources(f *testing.F) []*discovery.Resource {
	f.Helper()
	w := &sidehook.Webhook{App: "a", ID: "w", Name: "w", URL: "https://example.com", Events: []string{"*"}}
	w.Normalize()
	return []*discovery.Resource{
		wireOf(f, xds.OfWebhook(w)), wireOf(f, xds.OfAppPolicy(&xds.AppPolicy{App: "a"})),
		wireOf(f, xds.OfEventType(&sidehook.EventType{App: "a", Type: "person.created"})),
	}
}

// FuzzLKG: any file is read as a configuration or refused as damaged, never anything else; what is read is the same when
// it is written and read again. With wrap the bytes are given a head and a checksum that are right.
func FuzzLKG(f *testing.F) {
	dir := f.TempDir()
	path, key := filepath.Join(dir, "config.lkg"), bytes.Repeat([]byte{7}, 32)
	for _, k := range [][]byte{nil, key} {
		if err := writeLKG(path, k, slices.Values(sampleResources(f))); err != nil {
			f.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file, false, true)
		f.Add(file, false, false)
		f.Add(file[:len(file)-3], false, true)
		if k == nil {
			f.Add(file[len(lkgMagic)+1+sha256.Size:], true, false)
		}
	}
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), true, false) // a length of 2⁶⁴-1
	f.Add([]byte(lkgMagic), false, false)
	f.Add([]byte{}, true, true)
	f.Fuzz(func(t *testing.T, file []byte, wrap, keyed bool) {
		if wrap {
			sum := sha256.Sum256(file)
			file = append(append(append([]byte(lkgMagic), lkgClear), sum[:]...), file...)
		}
		var k []byte
		if keyed {
			k = key
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		saved, err := readLKG(path, k)
		if err != nil {
			if !errors.Is(err, errCorrupt) {
				t.Fatalf("refused as %v", err)
			}
			return
		}
		if err := writeLKG(path, k, slices.Values(saved)); err != nil {
			return // names that are not UTF-8 are read and not written
		}
		again, err := readLKG(path, k)
		if err != nil || len(again) != len(saved) {
			t.Fatalf("%d resources come back as %d, %v", len(saved), len(again), err)
		}
		for i := range saved {
			if !proto.Equal(saved[i], again[i]) {
				t.Fatalf("%v comes back as %v", saved[i], again[i])
			}
		}
	})
}

// FuzzDelta: whatever control planes answer, on however many streams, what is live are resources that were checked, of
// the type that they were sent as, and a snapshot can be made of them.
func FuzzDelta(f *testing.F) {
	all := sampleResources(f)
	seed := func(responses ...*discovery.DeltaDiscoveryResponse) {
		var b bytes.Buffer
		for _, r := range responses {
			if _, err := protodelim.MarshalTo(&b, r); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(b.Bytes(), byte(0b01))
		f.Add(b.Bytes(), byte(0b10))
	}
	seed(&discovery.DeltaDiscoveryResponse{TypeUrl: xds.WebhookType, Resources: all[:1], Nonce: "1"},
		&discovery.DeltaDiscoveryResponse{TypeUrl: xds.WebhookType, RemovedResources: []string{all[0].GetName()}, Nonce: "2"})
	seed(&discovery.DeltaDiscoveryResponse{TypeUrl: xds.AppPolicyType, Resources: all, SystemVersionInfo: xds.MorePrefix},
		&discovery.DeltaDiscoveryResponse{TypeUrl: xds.AppPolicyType, Resources: append(all[1:2], all[1])})
	seed(&discovery.DeltaDiscoveryResponse{TypeUrl: xds.EventTypeType, Resources: []*discovery.Resource{{Name: "x"}, all[2]}},
		&discovery.DeltaDiscoveryResponse{TypeUrl: xds.SecretType, RemovedResources: []string{"", all[0].GetName()}},
		&discovery.DeltaDiscoveryResponse{TypeUrl: xds.WebhookType, Resources: []*discovery.Resource{{
			Name: all[0].GetName(), Resource: &anypb.Any{TypeUrl: xds.WebhookType, Value: []byte{0xff}},
		}}})
	f.Fuzz(func(t *testing.T, data []byte, drop byte) {
		s := newState()
		s.begin()
		reader := bytes.NewReader(data)
		for n := 0; ; n++ {
			resp := new(discovery.DeltaDiscoveryResponse)
			if err := protodelim.UnmarshalFrom(reader, resp); err != nil {
				return
			}
			if s.types[resp.GetTypeUrl()] == nil {
				continue // the stream refuses it before
			}
			checked := map[string]bool{}
			bad := s.take(resp, func(r *xds.Resource) error {
				checked[r.Name] = true
				return nil
			})
			for name, st := range s.staged {
				if r := st.resource; r != nil && (r.Name != name || r.TypeURL != st.typeURL || xds.TypeOfName(name) != st.typeURL) {
					t.Fatalf("%q is staged as %+v", name, r)
				}
			}
			for _, r := range resp.GetResources() {
				if name := r.GetName(); !checked[name] && bad[name] == "" {
					t.Fatalf("%q was neither checked nor refused", name)
				}
			}
			if drop>>(n%8)&1 != 0 {
				s.begin() // the stream breaks, or the configuration cannot be applied
				continue
			}
			snapshot := s.builder.Build()
			s.commit(snapshot, time.Time{})
			live := 0
			for _, ts := range s.types {
				for _, e := range ts.entries {
					if e.resource != nil {
						live++
					}
				}
			}
			if s.builder.Len() != live {
				t.Fatalf("%d are live, the snapshot has %d", live, s.builder.Len())
			}
		}
	})
}
