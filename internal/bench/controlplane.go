package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/internal/client"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/badgerstore"
)

// fleetSize says how large a control plane's state is.
type fleetSize struct{ sidecars, apps, webhooks int }

// state is what was put into a control plane.
type state struct {
	size    fleetSize
	tokens  []string            // of the sidecars, which all serve the app bench
	webhook sidehook.WebhookKey // one of that app
	name    string              // of that webhook
}

// filledControl makes the folder of a control plane that has a state.
func (b *bench) filledControl(size fleetSize) (dir string, st *state, err error) {
	if dir, err = os.MkdirTemp(b.dir, "c-"); err != nil {
		return "", nil, err
	}
	const text = "kind: control\ndata_dir: data\nlisten: {xds: 127.0.0.1:0, rest: 127.0.0.1:0}\n" +
		"limits: {webhooks_per_app: 100000}\nlog: {level: warn}\n"
	if err := os.WriteFile(filepath.Join(dir, "control.yaml"), []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	data := filepath.Join(dir, "data", "state")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return "", nil, err
	}
	kv, err := badgerstore.OpenKV(data, badgerstore.KVOptions{})
	if err != nil {
		return "", nil, err
	}
	st, err = fill(b.ctx, kv, size)
	return dir, st, errors.Join(err, kv.Close())
}

// fill makes the app bench with a webhook and tokens for its sidecars, and copies that webhook, with its secret, until
// there are as many as size says, bench having its share of them. Only the copying goes past the management service:
// it has one commit for each webhook, and there are many.
func fill(ctx context.Context, kv storage.KV, size fleetSize) (*state, error) {
	svc, err := control.New(control.Options{KV: kv})
	if err != nil {
		return nil, err
	}
	if _, _, err := svc.PutApp(ctx, app, control.AppSpec{}); err != nil {
		return nil, err
	}
	w, _, err := svc.CreateWebhook(ctx, sidehook.Webhook{
		App: app, Name: "watched", URL: "https://example.com/in", Events: []string{"order.*"},
	})
	if err != nil {
		return nil, err
	}
	st := &state{size: size, webhook: w.Key(), name: w.Name}
	for i := range size.sidecars {
		_, token, err := svc.CreateToken(ctx, control.TokenSpec{
			Name: fmt.Sprintf("bench %d", i), Kind: control.TokenSidecar, Apps: []string{app},
		})
		if err != nil {
			return nil, err
		}
		st.tokens = append(st.tokens, token)
	}
	if err := copyWebhook(ctx, kv, w, size); err != nil {
		return nil, err
	}
	// Should the records ever be kept elsewhere, the copies would not be webhooks.
	for _, of := range []string{app, appName(size.apps - 1)} {
		list, _, err := svc.ListWebhooks(ctx, of, control.PageRequest{})
		if err == nil && len(list) < 2 {
			err = fmt.Errorf("app %s has %d webhooks after they were copied", of, len(list))
		}
		if err != nil {
			return nil, err
		}
	}
	return st, nil
}

// appName names the apps that webhooks are spread over. The first is the one that the sidecars serve.
func appName(i int) string {
	if i == 0 {
		return app
	}
	return fmt.Sprintf("app-%d", i)
}

// perCommit is how many webhooks are copied by a commit.
const perCommit = 400

func copyWebhook(ctx context.Context, kv storage.KV, w *sidehook.Webhook, size fleetSize) error {
	record := func(prefix string) ([]byte, error) {
		pairs, _, err := kv.List(ctx, prefix+app+"/")
		if err == nil && len(pairs) != 1 {
			err = fmt.Errorf("%d records under %s, want one", len(pairs), prefix)
		}
		if err != nil {
			return nil, err
		}
		return pairs[0].Value, nil
	}
	webhook, err := record("webhooks/")
	if err != nil {
		return err
	}
	secret, err := record("secrets/")
	if err != nil {
		return err
	}
	appRecord, err := kv.Get(ctx, "apps/"+app)
	if err != nil {
		return err
	}
	var ops []storage.Op
	for i := range size.webhooks {
		of := appName(i % size.apps)
		if i > 0 && i < size.apps {
			ops = append(ops, storage.Op{Key: "apps/" + of, Value: appRecord.Value})
		}
		id := fmt.Sprintf("%s/wh-%d", of, i)
		ops = append(ops, storage.Op{Key: "webhooks/" + id, Value: webhook}, storage.Op{Key: "secrets/" + id + "/s", Value: secret})
		if len(ops) >= 2*perCommit || i == size.webhooks-1 {
			if _, err := kv.Commit(ctx, nil, ops); err != nil {
				return err
			}
			ops = ops[:0]
		}
	}
	return nil
}

// controlPlane is a running `sidehook control`.
type controlPlane struct {
	xds  string
	api  *client.Client
	cmd  *exec.Cmd
	out  chan struct{} // its output has ended
	took time.Duration // from exec to ready
}

// startControl starts the binary on the files in dir and returns when it answers.
func startControl(ctx context.Context, binary, dir string) (*controlPlane, error) {
	program, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	c := &controlPlane{out: make(chan struct{})}
	c.cmd = exec.Command(program, "control", "--config", filepath.Join(dir, "control.yaml"))
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s (build it with make build): %w", binary, err)
	}
	ready := make(chan string, 1)
	go c.read(out, ready)
	select {
	case rest := <-ready:
		c.took = time.Since(began)
		err = c.connect(rest, filepath.Join(dir, "data", "admin.token"))
	case <-c.out:
		err = errors.New("the control plane ended before it was ready")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// read takes the addresses from the output. The last line of the banner comes when everything answers.
func (c *controlPlane) read(out io.Reader, ready chan<- string) {
	defer close(c.out)
	rest := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		what, addr, _ := strings.Cut(strings.TrimSpace(lines.Text()), "  ")
		switch addr = strings.TrimSpace(addr); what {
		case "xDS and fleet (gRPC)":
			c.xds = addr
		case "management API":
			rest = addr
		case "admin token":
			ready <- rest
		}
	}
}

func (c *controlPlane) connect(rest, tokenFile string) error {
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return err
	}
	c.api, err = client.New(client.Options{Server: rest, Token: strings.TrimSpace(string(token))})
	return err
}

func (c *controlPlane) pid() int { return c.cmd.Process.Pid }

func (c *controlPlane) stop() error {
	if c.api != nil {
		c.api.Close()
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	kill := time.AfterFunc(30*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	<-c.out // before Wait, which closes the pipe
	return c.cmd.Wait()
}
