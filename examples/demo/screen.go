package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// screen is what the person sees. It uses colour only on a terminal that wants it.
type screen struct {
	out   io.Writer
	color bool
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if f, ok := out.(*os.File); ok && os.Getenv("NO_COLOR") == "" {
		info, err := f.Stat()
		s.color = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

func (s *screen) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) bold(t string) string  { return s.paint("1", t) }
func (s *screen) dim(t string) string   { return s.paint("2", t) }
func (s *screen) green(t string) string { return s.paint("32", t) }
func (s *screen) red(t string) string   { return s.paint("31", t) }
func (s *screen) amber(t string) string { return s.paint("33", t) }

func (s *screen) title(text string) { fmt.Fprintf(s.out, "\n%s\n\n", s.bold(text)) }

func (s *screen) webhook(r receiver, id string) {
	note := ""
	if r.note != "" {
		note = s.dim("  (" + r.note + ")")
	}
	fmt.Fprintf(s.out, "  webhook  %-20s %s  %s%s\n", r.name, s.dim(id), strings.Join(r.events, " "), note)
}

func (s *screen) emitted(sc scene, deliveries int, took time.Duration) {
	fmt.Fprintf(s.out, "\n→ %-28s %s\n", s.bold(sc.typ),
		s.dim(fmt.Sprintf("%s; on disk after %.1f ms, wanted by %d", sc.product, float64(took.Microseconds())/1000, deliveries)))
}

func (s *screen) arrived(a arrival) {
	mark, what := s.green("✓"), "signature holds"
	switch {
	case !a.Verdict.OK:
		mark, what = s.red("✗"), "signature does not hold: "+a.Verdict.Reason
	case a.Status >= 300:
		mark, what = s.amber("!"), fmt.Sprintf("signature holds, but the endpoint answered %d; it will be tried again", a.Status)
	}
	if n := a.Headers.Get("Sidehook-Attempt"); n != "1" && n != "" {
		what += ", attempt " + n
	}
	if n := a.Headers.Get("X-Redacted"); n != "" {
		what += ", " + n + " fields hidden by the transformer"
	}
	fmt.Fprintf(s.out, "  ← %s %-11s %s\n", mark, a.bin, what)
	if a.Headers.Get("X-Redacted") != "" {
		fmt.Fprintf(s.out, "      %s\n", s.dim(excerpt(a.Body)))
	}
}

// excerpt is the delivered data on one line, not too long.
func excerpt(body string) string {
	var envelope struct{ Data json.RawMessage }
	if err := json.Unmarshal([]byte(body), &envelope); err == nil && len(envelope.Data) > 0 {
		body = string(envelope.Data)
	}
	if r := []rune(body); len(r) > 110 {
		return string(r[:110]) + "…"
	}
	return body
}

func (s *screen) summary(a *arrivals, expected int) {
	fmt.Fprintf(s.out, "\n%s\n", s.bold(fmt.Sprintf("%d of %d deliveries arrived and were verified; %d attempts failed and were repeated.",
		a.verified, expected, a.failed)))
}

// whereToLook is for somebody who looks around while the processes run.
func (s *screen) whereToLook(d *dev) {
	fmt.Fprintf(s.out, `
Where to look next
  what arrived       http://%s/
  the console        http://%s/console/    (sign in with the token in %s)
  the sidecar        http://%s/            (deliveries, webhooks, configuration, metrics)
  the API            http://%s/openapi.json
  emit one yourself  bin/sidehook publish --address %s --app %s --type person.created --data '{"id":7}'
`, d.inbox, d.rest, d.tokenFile, d.admin, d.rest, d.grpc, app)
}
