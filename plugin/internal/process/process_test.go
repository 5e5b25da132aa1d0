package process

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func split(chunks ...string) []string {
	var got []string
	w := &lineWriter{emit: func(l string) { got = append(got, l) }}
	for _, c := range chunks {
		if n, err := w.Write([]byte(c)); n != len(c) || err != nil {
			panic("lineWriter failed")
		}
	}
	w.Flush()
	return got
}

func TestLines(t *testing.T) {
	for _, c := range []struct{ in, out []string }{
		{[]string{"a\nb\n"}, []string{"a", "b"}},
		{[]string{"a", "b", "\r\n", "\n", "c"}, []string{"ab", "c"}},
		{[]string{"\xff\n"}, []string{"\uFFFD"}},
		{[]string{strings.Repeat("x", MaxLine) + "y\nz"}, []string{strings.Repeat("x", MaxLine) + cutMark, "z"}},
		{[]string{strings.Repeat("x", MaxLine), strings.Repeat("y", 10*MaxLine), "\nz"}, []string{strings.Repeat("x", MaxLine) + cutMark, "z"}},
		{nil, nil},
	} {
		got := split(c.in...)
		if strings.Join(got, "|") != strings.Join(c.out, "|") {
			t.Errorf("%.40q: %.80q, want %.80q", c.in, got, c.out)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add("a\nb", 1)
	f.Add(strings.Repeat("x", 2*MaxLine)+"\n\xff", 1000)
	f.Fuzz(func(t *testing.T, s string, size int) {
		if size < 1 {
			size = 1
		}
		var chunks []string
		for rest := s; rest != ""; {
			n := min(size, len(rest))
			chunks, rest = append(chunks, rest[:n]), rest[n:]
		}
		got, whole := split(chunks...), split(s)
		if strings.Join(got, "\n") != strings.Join(whole, "\n") {
			t.Errorf("chunks change the lines: %q and %q", got, whole)
		}
		for _, l := range got {
			if !utf8.ValidString(l) || strings.Contains(l, "\n") || len(l) > 3*MaxLine+len(cutMark) {
				t.Errorf("bad line %q", l)
			}
		}
	})
}

func FuzzParseStdio(f *testing.F) {
	var good []byte
	good = protowire.AppendTag(good, 1, protowire.VarintType)
	good = protowire.AppendVarint(good, 2)
	good = protowire.AppendTag(good, 2, protowire.BytesType)
	good = protowire.AppendBytes(good, []byte("line\n"))
	if channel, data := parseStdio(good); channel != 2 || string(data) != "line\n" {
		f.Fatalf("channel %d, data %q", channel, data)
	}
	f.Add(good)
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{0x08})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, data := parseStdio(b); len(data) > len(b) {
			t.Error("more data than message")
		}
	})
}

func TestHandshakeLine(t *testing.T) {
	for line, want := range map[string]bool{
		"1|1|unix|/tmp/x|grpc": true, "1|1|unix|/tmp/x|grpc|": true, "1|1|tcp|127.0.0.1:1|netrpc|abc|true": true,
		"": false, "1|1|unix|/tmp/x": false, "a|b|unix|c|grpc": false, "2026|1|pipe|x|grpc": false,
		" 1|1|unix|/tmp/x|grpc": false, "1|1|unix||grpc": false, "99999999999|1|unix|x|grpc": false,
	} {
		if got := handshakeLine.MatchString(line); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}

func TestTail(t *testing.T) {
	var w tail
	if w.text() != "" {
		t.Error("an empty tail says something")
	}
	for _, l := range []string{"1", "2", "", "3", "4", "5", "6", "7", strings.Repeat("é", 500)} {
		w.add(l)
	}
	got := w.text()
	if !strings.HasPrefix(got, "; it last said: 3 ⏎ 4") || len(got) > 500 || !utf8.ValidString(got) {
		t.Errorf("%q", got)
	}
}

// TestKillBeforeStart: a start that is called off does not wait for the process that it did not start.
func TestKillBeforeStart(t *testing.T) {
	r := newChildRunner(Command{}, &executable{path: "/bin/sleep", name: "sleep"})
	r.kill()
	if err := r.Start(t.Context()); err == nil {
		t.Error("started after the kill")
	}
}

func TestCancelledStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	dir := filepath.Join(t.TempDir(), "s")
	if _, err := Start(ctx, Command{Path: "/bin/sleep", Args: []string{"600"}, SocketDir: dir}); err == nil {
		t.Error("started")
	}
	if took := time.Since(began); took > DefaultStartTimeout/2 {
		t.Errorf("took %s", took)
	}
}

func TestEmptyDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(filepath.Join(dir, "c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "c", "d"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := emptyDir(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}

	// A symbolic link is not followed: what it points to is not ours to empty.
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Dir(precious), link); err != nil {
		t.Fatal(err)
	}
	if err := emptyDir(link); err == nil {
		t.Error("emptied through a symbolic link")
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestChildEnv(t *testing.T) {
	env := childEnv([]string{"A=1", "TMPDIR=/mine"}, []string{"COOKIE=x", "PLUGIN_UNIX_SOCKET_DIR=/theirs"}, "/ours")
	got := strings.Join(env, " ")
	if want := "TMPDIR=/ours A=1 TMPDIR=/mine COOKIE=x PLUGIN_UNIX_SOCKET_DIR=/ours"; got != want {
		t.Errorf("%s", got)
	}
	if bytes.Contains([]byte(got), []byte("/theirs")) {
		t.Error("go-plugin's folder is used")
	}
}
