package docstest

import (
	"strings"
	"testing"
)

// TestPages runs the console blocks of README.md and docs/.
func TestPages(t *testing.T) {
	ran := 0
	for _, p := range pages(t) {
		blocks := p.blocks("console")
		if p.name != "README.md" && !strings.HasPrefix(p.name, "docs/") || len(blocks) == 0 {
			continue
		}
		ran++
		t.Run(strings.TrimPrefix(p.name, "docs/"), func(t *testing.T) {
			t.Parallel()
			s := openShell(t)
			for _, b := range blocks {
				for _, c := range commands(t, b) {
					s.check(p, c)
				}
			}
		})
	}
	if ran == 0 {
		t.Error("no page has a console block: looking for the wrong thing")
	}
}

// check runs a command and compares what it prints.
func (s *shell) check(p page, c command) {
	s.t.Helper()
	if longRunning.MatchString(c.text) {
		s.start(c.text)
		return
	}
	got, code := s.run(c.text)
	if code != 0 {
		s.t.Fatalf("%s:%d: %s\nended with status %d and printed\n%s", p.name, c.line, c.text, code, got)
	}
	if c.want != "" && !matches(c.want, got) {
		s.t.Errorf("%s:%d: %s\nprinted\n%s\nbut the page says\n%s", p.name, c.line, c.text, got, c.want)
	}
	s.settle(c.text)
}
