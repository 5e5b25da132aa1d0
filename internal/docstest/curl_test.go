package docstest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The pages use curl, which not every machine has that has Go. On those this test binary, under the name curl, does what
// the pages ask of it; on others the real one does.

func asCurl() bool { return filepath.Base(os.Args[0]) == "curl" }

// linkCurl makes a curl in dir on machines without one.
func linkCurl(t *testing.T, dir string) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err == nil {
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "curl")); err != nil {
		t.Fatal(err)
	}
}

// curl makes one request and returns the exit code.
func curl(args []string, stdout, stderr io.Writer) int {
	r, err := parseCurl(args)
	if err == nil {
		err = r.do(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "curl:", err)
		return 2
	}
	return 0
}

type curlRequest struct {
	method, url, data, output, format string
	header                            http.Header
}

func parseCurl(args []string) (*curlRequest, error) {
	r := &curlRequest{method: http.MethodGet, header: http.Header{}}
	for i := 0; i < len(args); i++ {
		value := ""
		switch arg := args[i]; {
		case arg == "-s":
			continue
		case !strings.HasPrefix(arg, "-"):
			r.url = arg
			continue
		case i+1 == len(args):
			return nil, fmt.Errorf("%s needs a value", arg)
		default:
			i++
			value = args[i]
		}
		switch args[i-1] {
		case "-X":
			r.method = value
		case "-d":
			if r.data = value; r.method == http.MethodGet {
				r.method = http.MethodPost
			}
		case "-H":
			name, text, _ := strings.Cut(value, ":")
			r.header.Add(name, strings.TrimSpace(text))
		case "-o":
			r.output = value
		case "-w":
			r.format = value
		default:
			return nil, fmt.Errorf("%s is not known to the curl of these tests; add it", args[i-1])
		}
	}
	return r, nil
}

func (r *curlRequest) do(stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// As curl does, line breaks in data are left out.
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, strings.NewReader(strings.NewReplacer("\r", "", "\n", "").Replace(r.data)))
	if err != nil {
		return err
	}
	req.Header = r.header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if r.output == "" {
		_, err = stdout.Write(body)
	} else {
		err = os.WriteFile(r.output, body, 0o600)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(stdout, strings.NewReplacer("%{http_code}", fmt.Sprint(resp.StatusCode), `\n`, "\n").Replace(r.format))
	return err
}

func TestCurl(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what came is compared below
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("X-A"), body)
	}))
	defer srv.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var out bytes.Buffer
	if code := curl([]string{"-s", srv.URL, "-H", "x-a: b", "-d", "{\n}", "-w", `%{http_code}\n`}, &out, &out); code != 0 || out.String() != "POST b {}418\n" {
		t.Errorf("%d %q", code, &out)
	}
	if code := curl([]string{"--what", "x"}, &out, &out); code == 0 {
		t.Error("an unknown flag was taken")
	}
}
