package plugintest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"github.com/sidehook/sidehook/plugin"
	"github.com/sidehook/sidehook/plugin/host"
	"github.com/sidehook/sidehook/plugin/internal/process"
	"google.golang.org/protobuf/proto"
)

// shutdownTime is how long a transformer may take to end when asked.
const shutdownTime = 2 * time.Second

var semver = regexp.MustCompile(`^v?(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)([-+][0-9A-Za-z.+-]+)?$`)

func (v *verifier) checkCommand() error { return process.Check(v.Command, nil) }

func (v *verifier) start(ctx context.Context) (*process.Process, error) {
	return process.Start(ctx, process.Command{Path: v.Command, Args: v.Args, Env: v.Env, SocketDir: v.socketDir("p")})
}

func kill(p *process.Process) {
	p.Kill()
	<-p.Done()
}

// handshake: starts, prints the line, serves its health.
func (v *verifier) handshake(ctx context.Context) (string, error) {
	began := time.Now()
	p, err := v.start(ctx)
	if err != nil {
		return "", err
	}
	defer kill(p)
	return fmt.Sprintf("ready after %s, %d MB resident", time.Since(began).Round(time.Millisecond), p.RSS()>>20), nil
}

func (v *verifier) describe(ctx context.Context) (string, error) {
	p, err := v.start(ctx)
	if err != nil {
		return "", err
	}
	defer kill(p)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	d, err := p.Client().Describe(ctx, &transformv1.DescribeRequest{})
	switch {
	case err != nil:
		return "", err
	case !sidehook.ValidName(d.GetName()):
		return "", fmt.Errorf("name %.80q must be 1 to %d of A-Z a-z 0-9 _ -", d.GetName(), sidehook.MaxNameLen)
	case !semver.MatchString(d.GetVersion()):
		return "", fmt.Errorf("version %.80q must be a semantic version such as 1.2.0", d.GetVersion())
	case strings.TrimSpace(d.GetDescription()) == "":
		return "", errors.New("description is empty: say in one sentence what it does")
	}
	return d.GetName() + " " + d.GetVersion() + ": " + d.GetDescription(), nil
}

// withHost runs f with a host of the transformer, as in a sidecar, and then makes sure that the process lived through.
func (v *verifier) withHost(ctx context.Context, f func(*host.Host) (string, error)) (note string, err error) {
	h, err := host.New(host.Options{
		Dir:   v.socketDir("h"),
		Specs: []host.Spec{{Name: "t", Command: v.Command, Args: v.Args, Env: v.Env, Timeout: v.Timeout}},
	})
	if err != nil {
		return "", err
	}
	if err := h.Start(ctx); err != nil {
		return "", err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*shutdownTime)
		defer cancel()
		err = errors.Join(err, h.Stop(stop))
	}()
	if err := ready(ctx, h); err != nil {
		return "", err
	}
	if note, err = f(h); err != nil {
		return note, err
	}
	if s := h.Status()[0]; s.Restarts > 0 || s.State != host.Running {
		return note, fmt.Errorf("the process did not live through it: %s", s.LastError)
	}
	return note, nil
}

func ready(ctx context.Context, h *host.Host) error {
	ctx, cancel := context.WithTimeout(ctx, process.DefaultStartTimeout)
	defer cancel()
	return h.Ready(ctx, "t")
}

var webhook = &sidehook.Webhook{
	App: "demo", ID: "wh_verify", Name: "verification", URL: "https://example.com/", Format: sidehook.FormatStandard,
}

func event(n int, data string) *sidehook.Event {
	return &sidehook.Event{
		App: "demo", ID: fmt.Sprintf("verify-%d", n), Source: "/verify", Type: "person.created",
		Time: time.Unix(1_700_000_000, 0).UTC(), DataContentType: sidehook.DefaultContentType, Data: []byte(data),
	}
}

func person(n int) *sidehook.Event {
	return event(n, fmt.Sprintf(`{"id":%d,"name":"Ada","email":"ada%d@example.com","tags":["a",null,true,1.5]}`, n, n))
}

// ask asks about one event. A refusal with the author's reason is an answer; a result that a sidecar would not accept
// is not.
func ask(ctx context.Context, h *host.Host, e *sidehook.Event) (refused string, err error) {
	_, err = h.Transform(ctx, "t", e, webhook)
	if f, ok := errors.AsType[*sidehook.TransformFailure](err); ok {
		if strings.HasPrefix(f.Reason, "bad result: ") || strings.Contains(f.Reason, "is too large") || f.Reason == plugin.ReasonLate {
			return "", f
		}
		return f.Reason, nil
	}
	return "", err
}

// events asks about ordinary events and those of the options.
func (v *verifier) events(ctx context.Context) (string, error) {
	return v.withHost(ctx, func(h *host.Host) (string, error) {
		refused := 0
		all := append([]*sidehook.Event{person(1), person(2)}, v.Events...)
		for _, e := range all {
			reason, err := ask(ctx, h, e)
			if err != nil {
				return "", fmt.Errorf("event %s (%s): %w", e.ID, e.Type, err)
			}
			if reason != "" {
				refused++
			}
		}
		return fmt.Sprintf("%d events, %d refused", len(all), refused), nil
	})
}

// order: a call answers as many results as it has items, in their order.
func (v *verifier) order(ctx context.Context) (string, error) {
	p, err := v.start(ctx)
	if err != nil {
		return "", err
	}
	defer kill(p)
	request := &transformv1.TransformRequest{}
	for n := range 64 {
		request.Items = append(request.Items, itemOf(person(n)))
	}
	together, err := v.call(ctx, p, request)
	if err != nil {
		return "", err
	}
	differ := 0
	for n, item := range request.GetItems() {
		alone, err := v.call(ctx, p, &transformv1.TransformRequest{Items: []*transformv1.TransformItem{item}})
		if err != nil {
			return "", err
		}
		if proto.Equal(alone.GetResults()[0], together.GetResults()[n]) {
			continue
		}
		differ++
		for m, other := range together.GetResults() {
			if m != n && proto.Equal(alone.GetResults()[0], other) {
				return "", fmt.Errorf("the answer to item %d stands at place %d: results must be in the order of the items", n, m)
			}
		}
	}
	if differ > 0 {
		return fmt.Sprintf("%d of 64 answers differ when asked again: a retry may send something else", differ), nil
	}
	return "", nil
}

func (v *verifier) call(ctx context.Context, p *process.Process, r *transformv1.TransformRequest) (*transformv1.TransformResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, v.Timeout)
	defer cancel()
	resp, err := p.Client().Transform(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("call of %d items: %w", len(r.GetItems()), err)
	}
	if len(resp.GetResults()) != len(r.GetItems()) {
		return nil, fmt.Errorf("%d results for %d items: there must be one for each", len(resp.GetResults()), len(r.GetItems()))
	}
	return resp, nil
}

func itemOf(e *sidehook.Event) *transformv1.TransformItem {
	return &transformv1.TransformItem{
		Event: &transformv1.Event{
			App: e.App, Id: e.ID, Source: e.Source, Type: e.Type, DataContentType: e.DataContentType, Data: e.Data,
		},
		Webhook: &transformv1.Webhook{App: webhook.App, Id: webhook.ID, Name: webhook.Name, Url: webhook.URL, Format: webhook.Format},
	}
}

// oddData: whatever the data, there is an answer and the process lives.
func (v *verifier) oddData(ctx context.Context) (string, error) {
	return v.withHost(ctx, func(h *host.Host) (string, error) {
		for n, data := range []string{
			``, `null`, `0`, `""`, `[]`, `{}`, `-1e308`, `"\ud800"`, `{"":{"":{"":[]}}}`, `{"a":1,"a":2}`,
			strings.Repeat("[", 1000) + strings.Repeat("]", 1000), `{"id":12345678901234567890123}`,
		} {
			if _, err := ask(ctx, h, event(n, data)); err != nil {
				return "", fmt.Errorf("data %.40q: %w", data, err)
			}
		}
		for n, data := range []string{"plain text", "\xff\xfe\x00", ""} {
			e := event(100+n, data)
			e.DataContentType = "application/octet-stream"
			if _, err := ask(ctx, h, e); err != nil {
				return "", fmt.Errorf("data %.40q of application/octet-stream: %w", data, err)
			}
		}
		return "", nil
	})
}

// largeData: data at the limit of a sidecar is answered in time.
func (v *verifier) largeData(ctx context.Context) (string, error) {
	return v.withHost(ctx, func(h *host.Host) (string, error) {
		data := `{"text":"` + strings.Repeat("lorem ipsum ", (plugin.MaxData-100)/12) + `"}`
		began := time.Now()
		reason, err := ask(ctx, h, event(1, data))
		if err != nil {
			return "", fmt.Errorf("%d bytes of data: %w", len(data), err)
		}
		note := fmt.Sprintf("%d bytes in %s", len(data), time.Since(began).Round(time.Millisecond))
		if reason != "" {
			note += ", refused: " + reason
		}
		return note, nil
	})
}

// deadline: calls that are given up do no harm to the next ones.
func (v *verifier) deadline(ctx context.Context) (string, error) {
	return v.withHost(ctx, func(h *host.Host) (string, error) {
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				given, cancel := context.WithTimeout(ctx, time.Duration(n%10)*100*time.Microsecond)
				defer cancel()
				_, _ = h.Transform(given, "t", person(n), webhook) // most are given up; that is the point
			})
		}
		wg.Wait()
		if _, err := ask(ctx, h, person(1000)); err != nil {
			return "", fmt.Errorf("after 200 calls that were given up: %w", err)
		}
		return "", nil
	})
}

// concurrency: many at once, and each gets its own answer in time.
func (v *verifier) concurrency(ctx context.Context) (string, error) {
	return v.withHost(ctx, func(h *host.Host) (string, error) {
		const callers, each = 64, 20
		began := time.Now()
		errs := make(chan error, callers)
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for n := range each {
					if _, err := ask(ctx, h, person(c*each+n)); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		wg.Wait()
		close(errs)
		if err := <-errs; err != nil {
			return "", fmt.Errorf("%d callers at once: %w", callers, err)
		}
		return fmt.Sprintf("%.0f answers a second", callers*each/time.Since(began).Seconds()), nil
	})
}

// shutdown: ends when asked.
func (v *verifier) shutdown(ctx context.Context) (string, error) {
	p, err := v.start(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, shutdownTime)
	defer cancel()
	began := time.Now()
	if err := p.Stop(ctx); err != nil {
		<-p.Done()
		return "", fmt.Errorf("plugin.GRPCController/Shutdown must end the process within %s: %w", shutdownTime, err)
	}
	return "ended after " + time.Since(began).Round(time.Millisecond).String(), nil
}
