package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) {
	if os.Getenv("PLUGIN_TEST_BY_HAND") != "" {
		Serve(fn(nil))
		return
	}
	goleak.VerifyTestMain(m)
}

type fn func(ctx context.Context, item *Item) (*Result, error)

func (fn) Describe() Description {
	return Description{Name: "test", Version: "1.0.0", Text: "Tests."}
}

func (f fn) Transform(ctx context.Context, item *Item) (*Result, error) { return f(ctx, item) }

func question(data ...string) *transformv1.TransformRequest {
	r := &transformv1.TransformRequest{}
	for n, d := range data {
		r.Items = append(r.Items, &transformv1.TransformItem{
			Event:   &transformv1.Event{Id: fmt.Sprint(n), Data: []byte(d)},
			Webhook: &transformv1.Webhook{Id: "wh"},
		})
	}
	return r
}

// served asks a server the way a sidecar does that knows the generated types only.
type served struct{ *server }

func serve(f fn, concurrency int) served {
	return served{newServer(f, concurrency, slog.New(slog.DiscardHandler))}
}

func (s served) Transform(ctx context.Context, req *transformv1.TransformRequest) (*transformv1.TransformResponse, error) {
	in := new(request)
	sent, err := proto.Marshal(req)
	if err := errors.Join(err, in.DecodeWire(sent)); err != nil {
		return nil, err
	}
	out, err := s.transform(ctx, in)
	if err != nil {
		return nil, err
	}
	answer := out.AppendWire(nil)
	if len(answer) != out.WireSize() {
		return nil, fmt.Errorf("the answer has %d bytes, not %d", len(answer), out.WireSize())
	}
	resp := new(transformv1.TransformResponse)
	return resp, proto.Unmarshal(answer, resp)
}

// text is a result in short.
func text(r *transformv1.TransformResult) string {
	switch v := r.GetResult().(type) {
	case *transformv1.TransformResult_Rewritten:
		return "data " + string(v.Rewritten.GetData())
	case *transformv1.TransformResult_Drop:
		return "drop " + v.Drop.GetReason()
	case *transformv1.TransformResult_Failure:
		return "fail " + v.Failure.GetReason()
	}
	return "unset"
}

func TestResults(t *testing.T) {
	s := serve(func(_ context.Context, item *Item) (*Result, error) {
		switch d := string(item.Event.Data); d {
		case "drop":
			return Drop("no"), nil
		case "fail":
			return Fail("bad"), nil
		case "error":
			return nil, errors.New("broken")
		case "panic":
			panic("boom")
		case "nil":
			return nil, nil
		case "json":
			return RewriteJSON(map[string]string{"a": "<&>"})
		case "bad json":
			return RewriteJSON(make(chan int))
		case "keep":
			return Keep(), nil
		case "large":
			return Rewrite(make([]byte, MaxData+1)), nil
		case "header":
			return Keep().WithHeader("X", "\xff"), nil
		case "type":
			return Keep().WithType("\xff"), nil
		case "decode":
			return nil, item.Decode(new(int))
		case "long":
			return Fail(strings.Repeat("é", 400)), nil
		}
		return Rewrite([]byte("new")), nil
	}, 4)
	want := []struct{ in, out string }{
		{"drop", "drop no"},
		{"fail", "fail bad"},
		{"error", "fail broken"},
		{"panic", "fail panic in the transformer: boom"},
		{"nil", "fail the transformer returned neither"},
		{"json", `data {"a":"<&>"}`},
		{"bad json", "fail cannot encode"},
		{"keep", "data keep"},
		{"large", "fail result has 1048577 bytes"},
		{"header", "fail result's header"},
		{"type", "fail result's type"},
		{"decode", "fail data of event 11 is not the JSON"},
		{"long", "fail ééé"},
		{"other", "data new"},
	}
	var in []string
	for _, w := range want {
		in = append(in, w.in)
	}
	resp, err := s.Transform(t.Context(), question(in...))
	if err != nil {
		t.Fatal(err)
	}
	for n, w := range want {
		if got := text(resp.GetResults()[n]); !strings.HasPrefix(got, w.out) {
			t.Errorf("%s: %q, want %q", w.in, got, w.out)
		}
	}
	long := resp.GetResults()[12].GetFailure().GetReason()
	if len(long) > MaxReason || !utf8.ValidString(long) || !strings.HasSuffix(long, "…") {
		t.Errorf("reason of %d bytes", len(long))
	}
}

func TestNumberOfItems(t *testing.T) {
	s := serve(func(context.Context, *Item) (*Result, error) { return Keep(), nil }, 1)
	for _, n := range []int{0, maxItems + 1} {
		if _, err := s.Transform(t.Context(), question(make([]string, n)...)); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%d items: %v", n, err)
		}
	}
	if resp, err := s.Transform(t.Context(), question(make([]string, maxItems)...)); err != nil || len(resp.GetResults()) != maxItems {
		t.Errorf("%d items: %v", maxItems, err)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, most := make(chan struct{}, 100), 0
		s := serve(func(context.Context, *Item) (*Result, error) {
			running <- struct{}{}
			most = max(most, len(running)) // one at a time: the concurrency is 1
			<-running
			return Keep(), nil
		}, 1)
		for range 3 {
			go func() { _, _ = s.Transform(context.Background(), question("a", "b", "c")) }()
		}
		synctest.Wait()
		if most != 1 {
			t.Errorf("%d at once", most)
		}
	})
}

// TestHangingItem: it fails alone, in time for the answer to reach the sidecar.
func TestHangingItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := serve(func(ctx context.Context, item *Item) (*Result, error) {
			switch string(item.Event.Data) {
			case "hang":
				<-release
			case "obey":
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return Keep(), nil
		}, 8)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		resp, err := s.Transform(ctx, question("a", "hang", "b", "obey", "c"))
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 900*time.Millisecond {
			t.Errorf("took %s", took)
		}
		for n, want := range []string{"data a", "fail the transformer did not answer in time", "data b", "fail ", "data c"} {
			if got := text(resp.GetResults()[n]); !strings.HasPrefix(got, want) {
				t.Errorf("item %d: %q", n, got)
			}
		}
		close(release)
	})
}

// TestItemsThatWaitGetTogether: one that waits does not hold up the others of its call for long.
func TestItemsThatWaitGetTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(func(context.Context, *Item) (*Result, error) {
			<-time.After(10 * time.Millisecond) // another service's answer
			return Keep(), nil
		}, 64)
		began := time.Now()
		if _, err := s.Transform(t.Context(), question(make([]string, 64)...)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != hurryAfter+10*time.Millisecond {
			t.Errorf("64 items that take 10 ms each took %s together", took)
		}
	})
}

// TestHelpGrows: items that are quick, but many, get twice the workers after each hurryAfter.
func TestHelpGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		s := serve(func(context.Context, *Item) (*Result, error) {
			now := running.Add(1)
			for seen := most.Load(); seen < now && !most.CompareAndSwap(seen, now); seen = most.Load() {
			}
			<-time.After(hurryAfter/2 + 1) // one, and not two, in the first hurryAfter
			running.Add(-1)
			return Keep(), nil
		}, 64)
		if _, err := s.Transform(t.Context(), question(make([]string, 40)...)); err != nil {
			t.Fatal(err)
		}
		if n := most.Load(); n < 8 || n > 32 {
			t.Errorf("%d at once at most", n)
		}
	})
}

// TestNoSlot: when an item could not begin, the call fails and no event is to blame.
func TestNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := serve(func(context.Context, *Item) (*Result, error) {
			<-release
			return Keep(), nil
		}, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Transform(ctx, question("first", "never begun")); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("error %v", err)
		}
		close(release)
		synctest.Wait()
		if _, err := s.Transform(t.Context(), question("again")); err != nil {
			t.Errorf("the slot is lost: %v", err)
		}
	})
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(func(context.Context, *Item) (*Result, error) {
		cancel()
		<-ctx.Done()
		return Keep(), nil
	}, 1)
	if _, err := s.Transform(ctx, question("a", "b")); status.Code(err) != codes.Canceled {
		t.Errorf("error %v", err)
	}
}

func TestStartedByHand(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"PLUGIN_TEST_BY_HAND=1"}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ended with %v", err)
	}
	for _, want := range []string{`transformer "test" 1.0.0`, "sidehook plugin verify", "Tests."} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add(strings.Repeat("\xff", 600))
	f.Add(strings.Repeat("é", 251))
	f.Add("short")
	f.Fuzz(func(t *testing.T, s string) {
		if got := clip(s); len(got) > MaxReason || !utf8.ValidString(got) {
			t.Errorf("%q", got)
		}
	})
}
