package control_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage"
)

func TestEndedAccessIsOverEverywhereAndForGood(t *testing.T) {
	svc, kv, now := newService(t)
	_, plain, err := svc.CreateToken(t.Context(), control.TokenSpec{Name: "a", Kind: control.TokenAdmin})
	if err != nil {
		t.Fatal(err)
	}
	issue := func(life time.Duration) string {
		t.Helper()
		access, _, err := svc.IssueAccess(t.Context(), plain, life)
		if err != nil {
			t.Fatal(err)
		}
		return access
	}
	one, two := issue(time.Hour), issue(2*time.Hour)
	if err := svc.EndAccess(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	other, err := control.New(control.Options{KV: kv, Now: func() time.Time { return *now }})
	if err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]*control.Service{"here": svc, "in another process": other} {
		if _, err := s.AuthenticateAccess(t.Context(), one); !errors.Is(err, control.ErrUnauthenticated) {
			t.Errorf("%s the ended one holds: %v", what, err)
		}
		if _, err := s.AuthenticateAccess(t.Context(), two); err != nil {
			t.Errorf("%s another of the same token ended, too: %v", what, err)
		}
	}
	for _, none := range []string{one, "", "sha_x.y", plain, two[:len(two)-1]} {
		if err := svc.EndAccess(t.Context(), none); !errors.Is(err, control.ErrUnauthenticated) {
			t.Errorf("%.12q could be ended: %v", none, err)
		}
	}

	*now = now.Add(time.Hour)
	if err := svc.EndAccess(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	if left := endedOf(t, kv); len(left) != 1 {
		t.Errorf("%d are remembered after the time of one has come", len(left))
	}
}

func TestEndedAccessIsBounded(t *testing.T) {
	svc, kv, now := newService(t)
	_, plain, err := svc.CreateToken(t.Context(), control.TokenSpec{Name: "a", Kind: control.TokenAdmin})
	if err != nil {
		t.Fatal(err)
	}
	const most = 10_000
	for i := 0; i < most; i += 500 {
		var ops []storage.Op
		for j := range 500 {
			ops = append(ops, storage.Op{
				Key:   fmt.Sprintf("ended-access/%016x/%d", now.Add(time.Hour).Unix(), i+j),
				Value: fmt.Appendf(nil, `{"token":"x","until":%q}`, now.Add(time.Hour).Format(time.RFC3339)),
			})
		}
		if _, err := kv.Commit(t.Context(), nil, ops); err != nil {
			t.Fatal(err)
		}
	}
	access, _, err := svc.IssueAccess(t.Context(), plain, 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := svc.EndAccess(t.Context(), access); err != nil {
		t.Fatal(err)
	}
	if left := endedOf(t, kv); len(left) != most {
		t.Errorf("%d are remembered", len(left))
	}
	if _, err := svc.AuthenticateAccess(t.Context(), access); !errors.Is(err, control.ErrUnauthenticated) {
		t.Errorf("the newest was forgotten: %v", err)
	}
}

func endedOf(t *testing.T, kv storage.KV) []storage.Pair {
	t.Helper()
	all, _, err := kv.List(t.Context(), "ended-access/")
	if err != nil {
		t.Fatal(err)
	}
	return all
}
