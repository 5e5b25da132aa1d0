package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

const roleReceiver = "receiver"

// The paths of endpoints in trouble: one gives no answer, one begins an answer and never ends it, one says that it is
// busy. What comes there is not counted.
const (
	hangPath    = "/hang"
	endlessPath = "/endless"
	busyPath    = "/busy"
)

// An endless answer comes in pieces, at full speed until there is more than any sidecar reads: what would be sent in vain
// after that costs this machine, which has the endpoint on it, but says nothing of the sidecar.
const (
	endlessPiece = 4 << 10
	endlessBurst = 128 << 10
)

// flakyPath is where one event in ten is refused when it comes first.
const flakyPath = "/flaky"

// The receiver's control endpoint, on a listener of its own.
const (
	controlSummary = "/summary"
	controlMark    = "/mark"
	controlReset   = "/reset"
)

// runReceiver is the receiver's process. It prints its four addresses, then, as 8 bytes each, how many deliveries have
// arrived, and ends when its input does.
func runReceiver() error {
	r := &receiving{ledger: newLedger(), wake: make(chan struct{}, 1)}
	data, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	wide, err := net.Listen("tcp4", ":0") // every address of 127.0.0.0/8, which cannot be listened on alone
	if err != nil {
		return err
	}
	rpc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	eventsv1.RegisterEventServiceServer(server, echo{ledger: r.ledger})
	fmt.Printf("%s\n%s\n%s\n%s\n", data.Addr(), ctl.Addr(), wide.Addr(), rpc.Addr())
	failed := make(chan error, 4)
	go func() { failed <- server.Serve(rpc) }()
	go func() { failed <- http.Serve(loopbackOnly{wide}, http.HandlerFunc(r.serve)) }()
	go func() { failed <- http.Serve(data, http.HandlerFunc(r.serve)) }()
	go func() { failed <- http.Serve(ctl, r.control()) }()
	go func() { failed <- r.tell(os.Stdout) }()
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		failed <- err
	}()
	return <-failed // the process ends here, and the others with it
}

// loopbackOnly takes connections from this host only.
type loopbackOnly struct{ net.Listener }

// Accept implements net.Listener.
func (l loopbackOnly) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if peer, ok := conn.RemoteAddr().(*net.TCPAddr); ok && peer.IP.IsLoopback() {
			return conn, nil
		}
		_ = conn.Close() // nobody that counts
	}
}

type receiving struct {
	ledger *ledger
	count  atomic.Uint64
	wake   chan struct{}

	refused refusals
}

// refusals remembers which events were refused.
type refusals struct {
	mu   sync.Mutex
	once bitmap
}

func (r *refusals) refuses(body []byte) bool {
	seq, _, ok := readStamp(body)
	if !ok || seq%10 != 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.once.set(seq)
}

var bodies = sync.Pool{New: func() any { return new([]byte) }}

func (r *receiving) serve(w http.ResponseWriter, req *http.Request) {
	if r.trouble(w, req) {
		return
	}
	buf := bodies.Get().(*[]byte)
	defer bodies.Put(buf)
	n := max(int(req.ContentLength), 0)
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	body := (*buf)[:n]
	if _, err := io.ReadFull(req.Body, body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if req.URL.Path == flakyPath && r.refused.refuses(body) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.count.Store(r.ledger.arrived(req.URL.Path, body, time.Now()))
	w.WriteHeader(http.StatusOK)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// trouble answers as the endpoints in trouble do, and reports whether the request is for one of them.
func (r *receiving) trouble(w http.ResponseWriter, req *http.Request) bool {
	switch req.URL.Path {
	case hangPath:
		_, _ = io.Copy(io.Discard, req.Body) // whatever comes, there is no answer
		<-req.Context().Done()
	case endlessPath:
		_, _ = io.Copy(io.Discard, req.Body)
		w.WriteHeader(http.StatusOK)
		for n := 0; ; n++ {
			if _, err := w.Write(noise[:endlessPiece]); err != nil {
				return true // the sidecar has enough
			}
			if n*endlessPiece >= endlessBurst && pause(req.Context(), 10*time.Millisecond) != nil {
				return true
			}
		}
	case busyPath:
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	default:
		return false
	}
	return true
}

// tellEvery bounds how often the count is told, and so what telling costs.
const tellEvery = 500 * time.Microsecond

func (r *receiving) tell(w io.Writer) error {
	var b [8]byte
	pause := time.NewTimer(0)
	for range r.wake {
		<-pause.C
		binary.LittleEndian.PutUint64(b[:], r.count.Load())
		if _, err := w.Write(b[:]); err != nil {
			return err
		}
		pause.Reset(tellEvery)
	}
	return nil
}

func (r *receiving) control() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter) { _ = json.NewEncoder(w).Encode(r.ledger.summary()) }
	mux.HandleFunc("GET "+controlSummary, func(w http.ResponseWriter, _ *http.Request) { answer(w) })
	mux.HandleFunc("POST "+controlMark, func(w http.ResponseWriter, _ *http.Request) {
		answer(w)
		r.ledger.mark()
	})
	mux.HandleFunc("POST "+controlReset, func(w http.ResponseWriter, _ *http.Request) {
		r.ledger.reset()
		r.count.Store(0)
		answer(w)
	})
	return mux
}

// receiver is the receiver's process, seen from the bench.
type receiver struct {
	addr, ctl string
	wide      string // a port that listens on all loopback addresses
	rpc       string // takes events by gRPC
	cmd       *exec.Cmd
	stdin     io.WriteCloser
	gone      chan struct{}

	mu      sync.Mutex
	changed *sync.Cond
	count   uint64
	ended   bool
}

func startReceiver() (*receiver, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r := &receiver{cmd: exec.Command(self, "-role", roleReceiver), gone: make(chan struct{})}
	r.changed = sync.NewCond(&r.mu)
	r.cmd.Stderr = os.Stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the bench; the end of its input ends it
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the receiver: %w", err)
	}
	in := bufio.NewReader(out)
	for _, addr := range []*string{&r.addr, &r.ctl, &r.wide, &r.rpc} {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the receiver did not start: %w", err), r.stdin.Close(), r.cmd.Wait())
		}
		*addr = line[:len(line)-1]
	}
	go r.listen(in)
	return r, nil
}

func (r *receiver) listen(in io.Reader) {
	defer close(r.gone)
	var b [8]byte
	for {
		_, err := io.ReadFull(in, b[:])
		r.mu.Lock()
		if err != nil {
			r.ended = true
		} else {
			r.count = binary.LittleEndian.Uint64(b[:])
		}
		r.changed.Broadcast()
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

var errReceiverGone = errors.New("the receiver has ended")

// await waits until at least n deliveries have arrived, or ctx ends.
func (r *receiver) await(ctx context.Context, n uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count >= n { // the usual case, without a watch on ctx
		return nil
	}
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changed.Broadcast()
	})
	defer stop()
	for r.count < n {
		switch {
		case r.ended:
			return errReceiverGone
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		r.changed.Wait()
	}
	return nil
}

func (r *receiver) ask(method, path string) (summary, error) {
	var s summary
	req, err := http.NewRequest(method, "http://"+r.ctl+path, nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, fmt.Errorf("ask the receiver: %w", err)
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// mark returns what arrived so far and starts a new measurement.
func (r *receiver) mark() (summary, error) { return r.ask(http.MethodPost, controlMark) }

func (r *receiver) summary() (summary, error) { return r.ask(http.MethodGet, controlSummary) }

// reset forgets all that arrived; nothing may be under way.
func (r *receiver) reset() error {
	_, err := r.ask(http.MethodPost, controlReset)
	r.mu.Lock()
	r.count = 0
	r.mu.Unlock()
	return err
}

func (r *receiver) url(path string) string { return "http://" + r.addr + path }

func (r *receiver) stop() error {
	err := r.stdin.Close()
	<-r.gone
	return errors.Join(err, r.cmd.Wait())
}

func webhookPath(i int) string { return "/w/" + strconv.Itoa(i) }
