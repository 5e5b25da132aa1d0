package process

import (
	"bytes"
	"strings"
	"sync"
)

// MaxLine is how many bytes of a line are kept; the rest is left out and marked.
const MaxLine = 4096

const cutMark = " …(cut)"

// lineWriter splits what is written into lines of at most MaxLine bytes. It never fails and never grows.
type lineWriter struct {
	emit func(line string)
	buf  []byte
	cut  bool // the line went over MaxLine
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		w.take(line)
		if found {
			w.Flush()
		}
		p = rest
	}
	return n, nil
}

func (w *lineWriter) take(b []byte) {
	if room := MaxLine - len(w.buf); len(b) > room {
		b, w.cut = b[:room], true
	}
	w.buf = append(w.buf, b...)
}

// Flush emits what is left of an unfinished line.
func (w *lineWriter) Flush() {
	if len(w.buf) == 0 && !w.cut {
		return
	}
	line := strings.ToValidUTF8(string(bytes.TrimSuffix(w.buf, []byte{'\r'})), "\uFFFD")
	if w.cut {
		line += cutMark
	}
	w.buf, w.cut = w.buf[:0], false
	w.emit(line)
}

// Sizes of the tail: how much of standard error an error message quotes.
const (
	tailLines = 6
	tailWidth = 300
)

// tail keeps the last lines of standard error.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	if line = strings.TrimSpace(line); line == "" {
		return
	}
	if len(line) > tailWidth {
		line = strings.ToValidUTF8(line[:tailWidth], "") + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
}

// text is empty, or ": it last said …" to stand behind an error.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return ""
	}
	return "; it last said: " + strings.Join(t.lines, " ⏎ ")
}
