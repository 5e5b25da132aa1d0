package plugintest_test

import (
	"context"
	"errors"
	"fmt"
	"net/rpc"
	"os"
	"strings"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/sidehook/sidehook"
	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"github.com/sidehook/sidehook/plugin"
	"github.com/sidehook/sidehook/plugin/plugintest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
)

// modeEnv makes this test binary a transformer with one fault, which the suite must find.
const modeEnv = "PLUGINTEST_MODE"

func TestMain(m *testing.M) {
	switch mode := os.Getenv(modeEnv); mode {
	case "":
		goleak.VerifyTestMain(m)
	case "mute-exit":
		os.Exit(4)
	case "good":
		plugin.Serve(faulty{})
	case "no-sdk", "shuffled", "short":
		goplugin.Serve(&goplugin.ServeConfig{
			HandshakeConfig: plugin.Handshake(),
			Plugins:         goplugin.PluginSet{plugin.ServiceName: &bare{mode: mode}},
			GRPCServer:      goplugin.DefaultGRPCServer,
		})
	default:
		plugin.Serve(faulty{mode})
	}
}

// faulty does one thing wrong with the SDK.
type faulty struct{ mode string }

func (f faulty) Describe() plugin.Description {
	d := plugin.Description{Name: "faulty", Version: "0.1.0", Text: "Has a fault."}
	switch f.mode {
	case "bad-name":
		d.Name = "has spaces"
	case "bad-version":
		d.Version = "one"
	case "no-text":
		d.Text = " "
	}
	return d
}

func (f faulty) Transform(ctx context.Context, item *plugin.Item) (*plugin.Result, error) {
	switch {
	case f.mode == "crash-on-null" && string(item.Event.Data) == "null":
		os.Exit(9)
	case f.mode == "bad-header":
		return plugin.Keep().WithHeader("Host", "elsewhere"), nil
	case f.mode == "slow-when-large" && len(item.Event.Data) > 1<<19:
		select {}
	case f.mode == "refuses":
		return plugin.Fail("not today"), nil
	case f.mode == "clock":
		return plugin.RewriteJSON(time.Now().UnixNano())
	}
	return plugin.Keep(), nil
}

// bare serves without the SDK.
type bare struct {
	transformv1.UnimplementedTransformerServiceServer
	mode string
}

func (*bare) Server(*goplugin.MuxBroker) (any, error) { return nil, errors.ErrUnsupported }

func (*bare) Client(*goplugin.MuxBroker, *rpc.Client) (any, error) { return nil, errors.ErrUnsupported }

func (b *bare) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	transformv1.RegisterTransformerServiceServer(s, b)
	return nil
}

func (*bare) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

func (*bare) Describe(context.Context, *transformv1.DescribeRequest) (*transformv1.DescribeResponse, error) {
	return &transformv1.DescribeResponse{Name: "bare", Version: "0.1.0", Description: "Serves without the SDK."}, nil
}

func (b *bare) Transform(_ context.Context, req *transformv1.TransformRequest) (*transformv1.TransformResponse, error) {
	resp := &transformv1.TransformResponse{}
	for _, item := range req.GetItems() {
		resp.Results = append(resp.Results, &transformv1.TransformResult{
			Result: &transformv1.TransformResult_Rewritten{Rewritten: &transformv1.Rewritten{Data: item.GetEvent().GetData()}},
		})
	}
	n := len(resp.Results)
	switch {
	case b.mode == "short" && n > 1:
		resp.Results = resp.Results[1:]
	case b.mode == "shuffled" && n > 1:
		resp.Results[0], resp.Results[n-1] = resp.Results[n-1], resp.Results[0]
	}
	return resp, nil
}

func options(mode string) plugintest.Options {
	return plugintest.Options{Command: os.Args[0], Env: []string{modeEnv + "=" + mode}, Timeout: 500 * time.Millisecond}
}

// TestFaults: each fault is found by its check, and by no check before it.
func TestFaults(t *testing.T) {
	for mode, want := range map[string]struct{ check, words string }{
		"mute-exit":       {"handshake", "exited with status 4"},
		"bad-name":        {"describe", "name"},
		"bad-version":     {"describe", "semantic version"},
		"no-text":         {"describe", "description is empty"},
		"bad-header":      {"events", "Host is set by Sidehook"},
		"shuffled":        {"order", "in the order of the items"},
		"short":           {"order", "63 results for 64 items"},
		"crash-on-null":   {"odd data", "exited with status 9"},
		"slow-when-large": {"large data", "answer"},
		"no-sdk":          {"orphan", "getppid"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			var seen []string
			o := options(mode)
			o.Progress = func(c plugintest.Check) { seen = append(seen, c.Name) }
			report, err := plugintest.Verify(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if len(seen) != len(report.Checks) {
				t.Errorf("progress of %v for %d checks", seen, len(report.Checks))
			}
			for _, c := range report.Checks {
				if c.Err == nil {
					continue
				}
				if c.Name != want.check || !strings.Contains(c.Err.Error(), want.words) {
					t.Errorf("first fault is %s, want %s with %q", c, want.check, want.words)
				}
				return
			}
			t.Errorf("no fault was found: %v", report.Checks)
		})
	}
}

func TestConforming(t *testing.T) {
	for mode, note := range map[string]string{"good": "2 events, 0 refused", "refuses": "2 events, 2 refused", "clock": "64 of 64 answers differ"} {
		report, err := plugintest.Verify(t.Context(), options(mode))
		if err != nil || report.Err() != nil || len(report.Checks) != 10 {
			t.Errorf("%s: %v %v", mode, err, report.Err())
		}
		var text strings.Builder
		if err := report.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), note) || strings.Contains(text.String(), "FAIL") {
			t.Errorf("%s: report\n%s", mode, text.String())
		}
	}
}

func TestSuiteErrors(t *testing.T) {
	if _, err := plugintest.Verify(t.Context(), plugintest.Options{Command: "/nonexistent"}); err == nil {
		t.Error("verified what is not there")
	}
	o := options("good")
	o.Events = []*sidehook.Event{{App: "demo"}}
	if _, err := plugintest.Verify(t.Context(), o); err == nil || !strings.Contains(err.Error(), "events[0].id") {
		t.Errorf("invalid event: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("enough"))
	if _, err := plugintest.Verify(ctx, options("good")); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("cancelled: %v", err)
	}
}
