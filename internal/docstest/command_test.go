package docstest

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// command is one command of a console block and what the page says that it prints.
type command struct {
	text string
	want string // empty: anything
	line int    // in the page
}

// commands takes a console block apart.
func commands(t *testing.T, b block) []command {
	t.Helper()
	var all []command
	for i := 0; i < len(b.lines); {
		text, ok := strings.CutPrefix(b.lines[i], "$ ")
		if !ok {
			t.Fatalf("line %d: a console block starts with a command", b.at+i)
		}
		c := command{text: text, line: b.at + i}
		for i++; i < len(b.lines) && incomplete(t, c.text); i++ {
			c.text += "\n" + b.lines[i]
		}
		var want []string
		for ; i < len(b.lines) && !strings.HasPrefix(b.lines[i], "$ "); i++ {
			want = append(want, b.lines[i])
		}
		c.want = strings.Join(want, "\n")
		all = append(all, c)
	}
	return all
}

// incomplete reports whether bash wants more lines: an open quote or parenthesis, a here-document, a line that goes on.
func incomplete(t *testing.T, text string) bool {
	t.Helper()
	if strings.HasSuffix(text, `\`) || strings.HasSuffix(text, "|") {
		return true
	}
	out, _ := exec.CommandContext(t.Context(), "bash", "-n", "-c", text+"\n").CombinedOutput() // its complaint is the answer
	return strings.Contains(string(out), "unexpected EOF") || strings.Contains(string(out), "unexpected end of file") ||
		strings.Contains(string(out), "here-document")
}

// matches compares output with what a page says: spaces do not count, and … stands for anything.
func matches(want, got string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(squeeze(want)), "…", ".*?")
	return regexp.MustCompile(`(?s)^` + pattern + `$`).MatchString(squeeze(got))
}

func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

func TestCommandsAreTakenApart(t *testing.T) {
	got := commands(t, block{at: 10, lines: []string{
		"$ cat > f <<'EOF'", "a: $ b", "EOF", "$ curl \\", "    -d '{", `  "a": 1}' |`, "    cat", `{"a": …}`, "$ (x &&", "  y)",
	}})
	want := []command{
		{"cat > f <<'EOF'\na: $ b\nEOF", "", 10},
		{"curl \\\n    -d '{\n  \"a\": 1}' |\n    cat", `{"a": …}`, 13},
		{"(x &&\n  y)", "", 18},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
	for _, c := range []struct {
		want, got string
		match     bool
	}{
		{"{\"a\": …,\n \"b\": 2}", `{"a":1,"b":2}` + "\n", true},
		{"a", "ab", false},
		{"ab…", "b", false},
		{"a.c", "abc", false},
	} {
		if matches(c.want, c.got) != c.match {
			t.Errorf("%q against %q: want %t", c.want, c.got, c.match)
		}
	}
}
