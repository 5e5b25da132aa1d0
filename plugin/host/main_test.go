package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/rpc"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"github.com/sidehook/sidehook/plugin"
	"github.com/sidehook/sidehook/plugin/host"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// modeEnv makes this test binary behave as a transformer (or as a sidecar that is to be killed), so that every test
// runs against real processes.
const modeEnv = "HOST_TEST_MODE"

func TestMain(m *testing.M) {
	mode := os.Getenv(modeEnv)
	if mode == "" {
		goleak.VerifyTestMain(m)
		return
	}
	serve, ok := modes[mode]
	if !ok {
		fmt.Fprintln(os.Stderr, "no such mode:", mode)
		os.Exit(2)
	}
	serve()
}

var modes = map[string]func(){
	"good":    func() { plugin.Serve(&actor{}) },
	"one":     func() { plugin.ServeWith(&actor{}, plugin.Options{Concurrency: 1}) },
	"raw":     serveRaw,
	"pass-on": func() { plugin.Serve(passOn{}) },
	"mute":    func() { select {} },
	"late-mute": func() {
		fmt.Printf("1|1|unix|%s|grpc|\n", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "nobody"))
		select {}
	},
	"elsewhere": func() {
		fmt.Println("1|1|unix|/run/elsewhere.sock|grpc|")
		select {}
	},
	"tcp": func() {
		fmt.Println("1|1|tcp|127.0.0.1:1|grpc|")
		select {}
	},
	"garbage": func() {
		for {
			fmt.Println("not a handshake", strings.Repeat("x", 100_000))
		}
	},
	"exit": func() {
		fmt.Fprintln(os.Stderr, "cannot read my settings")
		os.Exit(7)
	},
	"poison-stderr": func() {
		fmt.Fprintln(os.Stderr, `{"@message":1}`)
		fmt.Fprintln(os.Stderr, `{"@message":"x","@level":2,"@timestamp":{}}`)
		plugin.Serve(&actor{})
	},
	"stray-stdout": func() {
		fmt.Println("starting up…")
		fmt.Println(strings.Repeat("y", 300_000))
		plugin.Serve(&actor{})
	},
	"old": func() { // speaks a version that this host does not
		goplugin.Serve(&goplugin.ServeConfig{
			HandshakeConfig: goplugin.HandshakeConfig{
				ProtocolVersion: 99, MagicCookieKey: plugin.CookieKey, MagicCookieValue: plugin.CookieValue,
			},
			Plugins:    goplugin.PluginSet{plugin.ServiceName: &rawPlugin{}},
			GRPCServer: goplugin.DefaultGRPCServer,
		})
	},
	"once": func() { // ends at once unless the file exists, which it makes
		f := os.Getenv("ONCE_FILE")
		if _, err := os.Stat(f); err != nil {
			_ = os.WriteFile(f, nil, 0o600)
			os.Exit(1)
		}
		plugin.Serve(&actor{})
	},
	"hog": func() {
		hog := bytes.Repeat([]byte{1}, 200<<20)
		plugin.Serve(&actor{keep: hog})
	},
	"stubborn": func() { // does not end when asked
		go plugin.Serve(&actor{})
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		select {}
	},
	"sidecar": beSidecar,
}

// actor does what the type of the event says.
type actor struct{ keep []byte }

func (*actor) Describe() plugin.Description {
	return plugin.Description{Name: "actor", Version: "1.2.3", Text: "Does as told."}
}

func (a *actor) Transform(ctx context.Context, item *plugin.Item) (*plugin.Result, error) {
	switch word, arg, _ := strings.Cut(item.Event.Type, ":"); word {
	case "crash":
		fmt.Fprintln(os.Stderr, "about to crash")
		os.Exit(3)
	case "stop-yourself":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "hang":
		select {}
	case "obey": // waits, but knows when to stop
		<-ctx.Done()
		return nil, ctx.Err()
	case "panic":
		panic("boom " + arg)
	case "drop":
		return plugin.Drop("not wanted"), nil
	case "fail":
		return nil, errors.New("cannot: " + arg)
	case "nothing":
		return nil, nil
	case "huge":
		return plugin.Rewrite(make([]byte, plugin.MaxData+1)), nil
	case "header":
		return plugin.Keep().WithHeader(arg, "v"), nil
	case "odd-header":
		return plugin.Keep().WithHeader("a b", "v"), nil
	case "keep":
		return plugin.Keep().WithHeader("X-B", "2").WithHeader("X-A", "1").WithType("kept"), nil
	case "env":
		return plugin.RewriteJSON(map[string]any{"env": os.Environ(), "arg0": os.Args[0]})
	case "noise":
		makeNoise(arg)
	case "child": // leaves a process behind in the group
		p, err := os.StartProcess("/bin/sleep", []string{"sleep", "600"}, &os.ProcAttr{})
		if err != nil {
			return nil, err
		}
		return plugin.RewriteJSON(p.Pid)
	case "pid":
		return plugin.RewriteJSON(os.Getpid())
	}
	return plugin.Rewrite(bytes.ToUpper(item.Event.Data)), nil
}

func makeNoise(lines string) {
	n, _ := strconv.Atoi(lines)
	for range n {
		fmt.Println("noise on stdout", strings.Repeat("z", 100))
		fmt.Fprintln(os.Stderr, "noise on stderr", strings.Repeat("z", 100))
	}
}

// serveRaw serves without the SDK, to answer what the SDK would not.
func serveRaw() {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: plugin.Handshake(),
		Plugins:         goplugin.PluginSet{plugin.ServiceName: &rawPlugin{}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.MaxRecvMsgSize(64<<20))...)
		},
	})
}

type rawPlugin struct {
	transformv1.UnimplementedTransformerServiceServer
}

func (*rawPlugin) Server(*goplugin.MuxBroker) (any, error) { return nil, errors.ErrUnsupported }

func (*rawPlugin) Client(*goplugin.MuxBroker, *rpc.Client) (any, error) {
	return nil, errors.ErrUnsupported
}

func (p *rawPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	transformv1.RegisterTransformerServiceServer(s, p)
	return nil
}

func (*rawPlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

func (*rawPlugin) Describe(context.Context, *transformv1.DescribeRequest) (*transformv1.DescribeResponse, error) {
	return &transformv1.DescribeResponse{Name: "raw\x1b[31m", Version: strings.Repeat("9", 5000)}, nil
}

func (*rawPlugin) Transform(ctx context.Context, req *transformv1.TransformRequest) (*transformv1.TransformResponse, error) {
	resp := &transformv1.TransformResponse{}
	for _, item := range req.GetItems() {
		r := &transformv1.Rewritten{Data: []byte(`"raw"`)}
		switch word, arg, _ := strings.Cut(item.GetEvent().GetType(), ":"); word {
		case "status":
			n, _ := strconv.Atoi(arg)
			return nil, status.Error(codes.Code(n), "raw status")
		case "noise":
			makeNoise(arg)
		case "none":
			return resp, nil
		case "unset":
			resp.Results = append(resp.Results, &transformv1.TransformResult{})
			continue
		case "huge":
			r.Data = make([]byte, 1<<20+1)
		case "gigantic":
			r.Data = make([]byte, 9<<20)
		case "not-json":
			r.Data = []byte("{")
		case "type":
			r.Type = "has spaces"
		case "media":
			r.DataContentType = "not a media type"
		case "crlf":
			r.Headers = map[string]string{"X-A": "a\r\nX-B: b"}
		case "reserved":
			r.Headers = map[string]string{"Webhook-Signature": "forged"}
		case "twice":
			r.Headers = map[string]string{"X-A": "1", "x-a": "2"}
		case "many":
			r.Headers = map[string]string{}
			for n := range 21 {
				r.Headers["X-"+strconv.Itoa(n)] = "v"
			}
		}
		resp.Results = append(resp.Results, &transformv1.TransformResult{
			Result: &transformv1.TransformResult_Rewritten{Rewritten: r},
		})
	}
	return resp, nil
}

// beSidecar runs a host with one transformer, prints the pid of it, and waits to be killed.
func beSidecar() {
	h, err := host.New(host.Options{
		Dir:   os.Getenv("SIDECAR_DIR"),
		Specs: []host.Spec{{Name: "t", Command: os.Args[0], Env: []string{modeEnv + "=good"}}},
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := errors.Join(h.Start(ctx), h.Ready(ctx, "t")); err != nil {
		panic(err)
	}
	fmt.Println(h.Status()[0].PID)
	select {}
}
