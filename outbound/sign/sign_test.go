package sign_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/sign"
)

// vector is an example of the Standard Webhooks documentation and its libraries' tests.
var vector = struct {
	secret, id, body, signature string
	ts                          int64
}{
	secret:    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	id:        "msg_p5jXN8AQM9LWM0D4loKWxJek",
	ts:        1614265330,
	body:      `{"test": 2432232314}`,
	signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}

func key(t testing.TB, s string) sidehook.Key {
	t.Helper()
	k, err := sidehook.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestV1Vector(t *testing.T) {
	got := sign.V1([]byte("kept "), key(t, vector.secret).Bytes(), vector.id, vector.ts, []byte(vector.body))
	if want := "kept " + vector.signature; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func reference(key []byte, id string, ts int64, body []byte) string {
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "%s.%d.%s", id, ts, body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func FuzzV1(f *testing.F) {
	f.Add([]byte("k"), "id", int64(0), []byte("body"))
	f.Add([]byte{}, "", int64(-1), []byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 64), "evt_1", int64(1614265330), bytes.Repeat([]byte("x"), 1024))
	f.Add(bytes.Repeat([]byte{7}, 65), "evt_1", int64(1)<<62, []byte{0, 1, 2})
	f.Add(bytes.Repeat([]byte{7}, 200), "a.b", int64(5), []byte("."))
	f.Fuzz(func(t *testing.T, key []byte, id string, ts int64, body []byte) {
		if got, want := string(sign.V1(nil, key, id, ts, body)), reference(key, id, ts, body); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestV1KeyLengths(t *testing.T) {
	long := bytes.Repeat([]byte{0xa5, 1}, 80)
	for n := range long { // interleaves lengths, so that a leftover of the last key would show
		for _, l := range []int{len(long) - n, n} {
			if got, want := string(sign.V1(nil, long[:l], "id", 1, nil)), reference(long[:l], "id", 1, nil); got != want {
				t.Fatalf("key of %d bytes: got %s, want %s", l, got, want)
			}
		}
	}
}

func TestV1Concurrently(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			k := bytes.Repeat([]byte{byte(g)}, 32)
			for i := range int64(200) {
				id := "evt_" + strconv.FormatInt(i, 10)
				if got, want := string(sign.V1(nil, k, id, i, k)), reference(k, id, i, k); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
	wg.Wait()
}

func signer(t testing.TB, w *sidehook.Webhook, secrets ...sidehook.Secret) *sign.Signer {
	t.Helper()
	w.App, w.ID, w.Name, w.URL, w.Events = "demo", "w", "W", "https://example.com/", []string{"*"}
	w.Normalize()
	if err := w.Validate(); err != nil {
		t.Fatalf("the test's own webhook: %v", err)
	}
	s, err := sign.New(w, secrets)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// standard gives the value of webhook-signature, and checks the timestamp beside it.
func standard(t testing.TB, secrets []sidehook.Secret, id string, now time.Time, body []byte) (string, error) {
	t.Helper()
	before := []sidehook.Header{{Key: "a", Value: "b"}}
	headers, at, err := signer(t, &sidehook.Webhook{}, secrets...).Headers(before, &sign.Request{ID: id, At: now, Body: body})
	if err != nil {
		if len(headers) != 1 {
			t.Errorf("headers %v beside an error", headers)
		}
		return "", err
	}
	want := sidehook.Header{Key: sign.HeaderTimestamp, Value: strconv.FormatInt(now.Unix(), 10)}
	if len(headers) != 3 || at != 2 || headers[0] != before[0] || headers[1] != want || headers[2].Key != sign.HeaderSignature {
		t.Fatalf("headers %v with the signature at %d", headers, at)
	}
	return headers[at].Value, nil
}

// TestPublishedLibraryVerifies has the published library check a rotation: old and new secret both verify, one that
// never signed does not.
func TestPublishedLibraryVerifies(t *testing.T) {
	now := time.Now()
	old, fresh, other := sidehook.NewKey(), sidehook.NewKey(), sidehook.NewKey()
	body := []byte(`{"type":"person.created","data":"<é\u2028>"}`)
	value, err := standard(t, []sidehook.Secret{
		{ID: "old", Key: old, NotAfter: now.Add(time.Hour)},
		{ID: "new", Key: fresh, NotBefore: now},
	}, "evt_1", now, body)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set(sign.HeaderID, "evt_1")
	h.Set(sign.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	h.Set(sign.HeaderSignature, value)
	for name, k := range map[string]sidehook.Key{"old": old, "new": fresh, "other": other} {
		wh, err := standardwebhooks.NewWebhook(k.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		switch err := wh.Verify(body, h); {
		case name == "other" && err == nil:
			t.Error("a secret that never signed verifies")
		case name != "other" && err != nil:
			t.Errorf("%s secret: %v", name, err)
		}
		if wh.Verify(append(body, ' '), h) == nil {
			t.Errorf("%s secret: a changed body verifies", name)
		}
	}
}

func TestStandardSignsWithLiveSecretsOnly(t *testing.T) {
	now := time.Unix(1_700_000_000, 999)
	secret := func(b byte, from, to time.Duration) sidehook.Secret {
		k, err := sidehook.KeyFromBytes(bytes.Repeat([]byte{b}, 32))
		if err != nil {
			t.Fatal(err)
		}
		return sidehook.Secret{Key: k, NotBefore: now.Add(from), NotAfter: now.Add(to)}
	}
	expired, future := secret(1, -2*time.Hour, -time.Hour), secret(4, time.Hour, 2*time.Hour)
	a, b := secret(2, -time.Hour, time.Hour), secret(3, 0, time.Hour)
	got, err := standard(t, []sidehook.Secret{expired, a, future, b}, "id", now, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	want := reference(a.Key.Bytes(), "id", now.Unix(), []byte("x")) + " " + reference(b.Key.Bytes(), "id", now.Unix(), []byte("x"))
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, none := range [][]sidehook.Secret{nil, {expired}, {expired, future}} {
		if _, err := standard(t, none, "id", now, nil); !errors.Is(err, sign.ErrNoSecret) {
			t.Errorf("%d secrets, none live: got %v, want ErrNoSecret", len(none), err)
		}
	}
}

func TestSigningAllocatesWhatItGivesAway(t *testing.T) {
	if raceEnabled {
		t.Log("under the race detector sync.Pool drops values at random, so only the result is checked")
	}
	s := signer(t, &sidehook.Webhook{}, sidehook.Secret{Key: sidehook.NewKey()}, sidehook.Secret{Key: sidehook.NewKey()})
	r := &sign.Request{ID: "evt_1", At: time.Now(), Body: []byte(strings.Repeat("x", 1024))}
	headers := make([]sidehook.Header, 0, 2)
	n := testing.AllocsPerRun(200, func() { headers, _, _ = s.Headers(headers[:0], r) })
	if n > 2 && !raceEnabled {
		t.Errorf("%v allocations for two header values", n)
	}
	if strings.Count(headers[1].Value, "v1,") != 2 {
		t.Errorf("got %s, want two signatures", headers[1].Value)
	}
}

func BenchmarkV1(b *testing.B) {
	for _, size := range []int{128, 1024, 64 << 10} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			k, body := sidehook.NewKey().Bytes(), bytes.Repeat([]byte("x"), size)
			dst := make([]byte, 0, 64)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				dst = sign.V1(dst[:0], k, "evt_0123456789abcdef", 1614265330, body)
			}
		})
	}
}
