package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/rpc"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"github.com/sidehook/sidehook/internal/wire"
	"google.golang.org/grpc"
)

// DefaultConcurrency is how many Transform calls run at once unless Options say otherwise.
const DefaultConcurrency = 64

// parentPoll is how often the process looks whether its sidecar still lives.
const parentPoll = 500 * time.Millisecond

// spare makes the collector of a process with a small heap run once in 16 MiB more of what is left behind, and not in 4:
// otherwise it takes a fifth of what a quick transformer costs. It is never touched, so that the kernel gives it no
// memory; and unlike a higher GOGC it adds little where the heap is large.
const spare = 16 << 20

// streamWorkers are goroutines that take calls one after the other, with the stack that they have grown; a sidecar has
// at most four calls under way.
const streamWorkers = 4

// Options change how a transformer is served. The zero value is good.
type Options struct {
	// Concurrency is how many Transform calls may run at once; 0 means DefaultConcurrency, 1 one after the other.
	Concurrency int
	// Logger takes what the SDK itself has to say, such as the stack of a panic; nil means text on standard error,
	// which the sidecar puts into its log.
	Logger *slog.Logger
}

// Serve serves t until the sidecar asks the process to end or is gone. It is all that main has to do. Started by hand,
// it explains itself on standard error and ends the process with status 1.
func Serve(t Transformer) { ServeWith(t, Options{}) }

// ServeWith is Serve with Options.
func ServeWith(t Transformer, o Options) {
	if t == nil {
		fmt.Fprintln(os.Stderr, "plugin.Serve was given a nil Transformer")
		os.Exit(1)
	}
	if os.Getenv(CookieKey) != CookieValue {
		explain(os.Stderr, filepath.Base(os.Args[0]), t.Describe())
		os.Exit(1)
	}
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	go exitWithParent(o.Logger, os.Getppid())
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" { // the operator's word counts more
		ballast := make([]byte, spare)
		defer runtime.KeepAlive(ballast)
	}
	streams := &streams{out: os.Stdout, err: os.Stderr}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: Handshake(),
		Plugins:         goplugin.PluginSet{ServiceName: &registration{newServer(t, o.Concurrency, o.Logger)}},
		GRPCServer:      streams.newGRPCServer,
		Logger:          hclog.New(&hclog.LoggerOptions{Name: "go-plugin", Level: hclog.Error, Output: os.Stderr}),
	})
	if c, ok := t.(io.Closer); ok {
		if err := c.Close(); err != nil {
			o.Logger.Error("closing the transformer failed", "error", err)
			os.Exit(1)
		}
	}
}

// streams are the process's own standard output and error. go-plugin replaces both by pipes that it streams to the host,
// so that what is written just before a crash is lost. They are put back at the first call, which is a health check and
// comes before any of the author's code is called.
type streams struct {
	out, err *os.File
	once     sync.Once
}

func (s *streams) putBack(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	s.once.Do(func() { os.Stdout, os.Stderr = s.out, s.err })
	return next(ctx, req)
}

// newGRPCServer makes the server with windows that take a full batch without a stop for flow control.
func (s *streams) newGRPCServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts,
		grpc.ForceServerCodecV2(wire.NewCodec()),
		grpc.UnaryInterceptor(s.putBack),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.MaxRecvMsgSize(64<<20),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.InitialWindowSize(1<<20),
		grpc.InitialConnWindowSize(4<<20),
	)...)
}

// registration puts the server into the set of go-plugin.
type registration struct{ server *server }

// Server implements goplugin.Plugin; net/rpc is not served.
func (r *registration) Server(*goplugin.MuxBroker) (any, error) { return nil, errOnlyGRPC }

// Client implements goplugin.Plugin; net/rpc is not served.
func (r *registration) Client(*goplugin.MuxBroker, *rpc.Client) (any, error) { return nil, errOnlyGRPC }

// GRPCServer implements goplugin.GRPCPlugin.
func (r *registration) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&serviceDesc, r.server)
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin.
func (r *registration) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return transformv1.NewTransformerServiceClient(conn), nil
}

var errOnlyGRPC = errors.New("transformers speak gRPC only")

// exitWithParent ends the process when its parent is no longer the one that started it: the sidecar died without
// saying so, or the shell between them did. It runs for the life of the process.
func exitWithParent(log *slog.Logger, parent int) {
	for range time.Tick(parentPoll) {
		if os.Getppid() != parent {
			log.Error("the sidecar is gone; ending")
			os.Exit(1)
		}
	}
}

// explain says what to do with a transformer that was started by hand.
func explain(w io.Writer, program string, d Description) {
	fmt.Fprintf(w, `%s is the Sidehook transformer %q %s.
%s

A sidecar starts it; it does nothing by itself. To use it, name it in the sidecar's configuration and in a
webhook's "transformer" field. To check it:

    sidehook plugin verify ./%s
`, program, d.Name, d.Version, d.Text, program)
}
