package send_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidehook/sidehook/outbound/send"
)

// files are a certificate and its key as files, signed by themselves.
func files(t *testing.T, dir, name string, cert tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	writePEM(t, certFile, keyFile, cert)
	return certFile, keyFile
}

func loadTLS(t testing.TB, rules ...send.TLSRule) *send.TLSRules {
	t.Helper()
	all, err := send.LoadTLS(rules)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A private authority and a client certificate are for the hosts that a rule names, over HTTP/1.1, HTTP/2 and proxies.
func TestTLSRules(t *testing.T) {
	server := certificate(t, func(c *x509.Certificate) { c.DNSNames = []string{"a.corp.test", "b.other.test", "c.other.test"} })
	client := certificate(t, func(c *x509.Certificate) { c.Subject.CommonName = "sidecar" })
	clients := x509.NewCertPool()
	clients.AddCert(client.Leaf)
	dir := t.TempDir()
	ca, _ := files(t, dir, "ca", server)
	cert, key := files(t, dir, "client", client)
	wrong, wrongKey := files(t, dir, "wrong", certificate(t, func(c *x509.Certificate) { c.Subject.CommonName = "wrong" }))
	for _, h2 := range []bool{false, true} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "%s %s %x", r.Proto, r.TLS.PeerCertificates[0].Subject.CommonName, r.TLS.Version)
		}))
		srv.EnableHTTP2 = h2
		srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		f := newForwarder(t, nil)
		for _, through := range []*send.Proxy{nil, viaProxy(t, "http://"+f.ln.Addr().String())} {
			opts := send.Options{HTTP2: true, Resolver: fixedResolver(addrs("127.0.0.1")), TLSRules: loadTLS(t,
				send.TLSRule{Hosts: []string{"*.corp.test"}, CAFile: ca, CertFile: cert, KeyFile: key},
				send.TLSRule{Hosts: []string{"b.other.test"}, CAFile: ca},
				send.TLSRule{Hosts: []string{"*"}, CAFile: ca, CertFile: wrong, KeyFile: wrongKey},
			)}
			if through != nil {
				opts.Proxy, opts.Resolver = through, fixedResolver{outside}
			}
			c := newClient(t, opts)
			e := endpoint(t, "https://a.corp.test:"+portOf(t, srv.URL))
			want := "HTTP/1.1 sidecar 304"
			if h2 {
				want = "HTTP/2.0 sidecar 304"
			}
			for range 10 {
				if resp := mustPost(t, c, e); string(resp.Body) != want {
					t.Errorf("%s, want %s", resp.Body, want)
				}
			}
			if s := c.Stats(); s.Dials != 1 || s.Reused != 9 {
				t.Errorf("h2 %t: %+v", h2, s)
			}
			_, err := post(t, c, endpoint(t, "https://b.other.test:"+portOf(t, srv.URL)))
			wantError(t, err, send.KindTLS,
				"TLS: the receiver hung up after it asked for a client certificate, and outbound.tls has none for it")
			_, err = post(t, c, endpoint(t, "https://c.other.test:"+portOf(t, srv.URL)))
			wantError(t, err, send.KindTLS,
				"TLS: the receiver hung up after it asked for a client certificate of another kind or authority than outbound.tls has for it")
			_, err = post(t, newClient(t, send.Options{HTTP2: true, Resolver: opts.Resolver, Proxy: opts.Proxy}), e)
			wantError(t, err, send.KindTLS, "TLS: certificate signed by unknown authority")
		}
	}
}

func TestTLSMinVersion(t *testing.T) {
	server := certificate(t, func(*x509.Certificate) {})
	ca, _ := files(t, t.TempDir(), "ca", server)
	srv := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{server}, MaxVersion: tls.VersionTLS12}, nil)
	e := endpoint(t, srv.URL)
	mustPost(t, newClient(t, send.Options{TLSRules: loadTLS(t, send.TLSRule{Hosts: []string{"127.0.0.1"}, CAFile: ca})}), e)
	c := newClient(t, send.Options{TLSRules: loadTLS(t, send.TLSRule{Hosts: []string{"127.0.0.0/8"}, CAFile: ca, MinVersion: tls.VersionTLS13})})
	_, err := post(t, c, e)
	wantError(t, err, send.KindTLS, "TLS: the receiver refused: protocol version not supported")
}

// A file that changes is used for new connections, and connections made before are not used again. A file that cannot
// be used changes nothing.
func TestTLSFilesAreReadAgain(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		first, second := certificate(t, func(*x509.Certificate) {}), certificate(t, func(c *x509.Certificate) { c.SerialNumber.SetInt64(2) })
		one := certificate(t, func(c *x509.Certificate) { c.Subject.CommonName = "one" })
		two := certificate(t, func(c *x509.Certificate) { c.Subject.CommonName = "two" })
		var serve atomic.Pointer[tls.Certificate]
		serve.Store(&first)
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
		}))
		srv.EnableHTTP2 = h2
		srv.TLS = &tls.Config{
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				cfg := &tls.Config{Certificates: []tls.Certificate{*serve.Load()}, ClientAuth: tls.RequireAnyClientCert}
				if h2 {
					cfg.NextProtos = []string{"h2"}
				}
				return cfg, nil
			},
		}
		srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		dir := t.TempDir()
		ca, _ := files(t, dir, "ca", first)
		cert, key := files(t, dir, "client", one)
		rules := loadTLS(t, send.TLSRule{Hosts: []string{"127.0.0.1"}, CAFile: ca, CertFile: cert, KeyFile: key})
		c := newClient(t, send.Options{HTTP2: true, TLSRules: rules, TLSReload: time.Hour})
		e := endpoint(t, srv.URL)
		expect := func(name string, reused bool) {
			t.Helper()
			if resp := mustPost(t, c, e); string(resp.Body) != name || resp.Reused != reused {
				t.Errorf("h2 %t: %s, reused %t; want %s, %t", h2, resp.Body, resp.Reused, name, reused)
			}
		}
		expect("one", false)
		expect("one", true)
		if changed, err := rules.Reload(); changed || err != nil {
			t.Errorf("nothing changed: %t, %v", changed, err)
		}
		expect("one", true)

		if err := os.WriteFile(key, []byte("half a"), 0o600); err != nil {
			t.Fatal(err)
		}
		changed, err := rules.Reload()
		var re *send.RuleError
		if changed || !errors.As(err, &re) || re.Index != 0 || re.Field != "cert_file" {
			t.Errorf("%t, %v", changed, err)
		}
		expect("one", true)

		writePEM(t, cert, key, two)
		if changed, err := rules.Reload(); !changed || err != nil {
			t.Errorf("%t, %v", changed, err)
		}
		expect("two", false)
		expect("two", true)

		serve.Store(&second) // not trusted yet; the session of before must not help
		writePEM(t, ca, filepath.Join(dir, "unused"), second)
		if changed, err := rules.Reload(); !changed || err != nil {
			t.Errorf("%t, %v", changed, err)
		}
		expect("two", false)
		writePEM(t, ca, filepath.Join(dir, "unused"), one)
		if _, err := rules.Reload(); err != nil {
			t.Error(err)
		}
		_, err = post(t, c, e)
		wantError(t, err, send.KindTLS, "TLS: certificate signed by unknown authority")
	}
}

// The Client looks by itself.
func TestTLSFilesAreWatched(t *testing.T) {
	server, stranger := certificate(t, func(*x509.Certificate) {}), certificate(t, func(*x509.Certificate) {})
	srv := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{server}}, nil)
	ca, _ := files(t, t.TempDir(), "ca", stranger)
	logs := make(chan string, 100)
	c := newClient(t, send.Options{
		TLSRules: loadTLS(t, send.TLSRule{Hosts: []string{"*"}, CAFile: ca}), TLSReload: 5 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(lines(logs), nil)),
	})
	e := endpoint(t, srv.URL)
	_, err := post(t, c, e)
	wantError(t, err, send.KindTLS, "TLS: certificate signed by unknown authority")
	aside := ca + ".new"
	if err := os.WriteFile(ca, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if line := await(t, logs, "the complaint"); !strings.Contains(line, "[0].ca_file: ") || !strings.Contains(line, "holds no PEM certificate") {
		t.Error(line)
	}
	writePEM(t, aside, filepath.Join(t.TempDir(), "key"), server)
	if err := os.Rename(aside, ca); err != nil {
		t.Fatal(err)
	}
	if line := await(t, logs, "the news"); !strings.Contains(line, "have changed") {
		t.Error(line)
	}
	mustPost(t, c, e)
}

// lines hands what is written to a channel.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestTLSRulesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	cert, key := files(t, dir, "a", certificate(t, func(*x509.Certificate) {}))
	_, otherKey := files(t, dir, "b", certificate(t, func(*x509.Certificate) {}))
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	good := send.TLSRule{Hosts: []string{"*"}, CAFile: cert, CertFile: cert, KeyFile: key, MinVersion: tls.VersionTLS13}
	for name, tc := range map[string]struct {
		change func(*send.TLSRule)
		field  string
	}{
		"pattern":      {func(r *send.TLSRule) { r.Hosts = []string{"a b"} }, "hosts"},
		"version":      {func(r *send.TLSRule) { r.MinVersion = tls.VersionTLS11 }, "min_version"},
		"new version":  {func(r *send.TLSRule) { r.MinVersion = tls.VersionTLS13 + 1 }, "min_version"},
		"no file":      {func(r *send.TLSRule) { r.CAFile = filepath.Join(dir, "none") }, "ca_file"},
		"a folder":     {func(r *send.TLSRule) { r.CAFile = dir }, "ca_file"},
		"no PEM":       {func(r *send.TLSRule) { r.CAFile = key }, "ca_file"},
		"too large":    {func(r *send.TLSRule) { r.CAFile = large }, "ca_file"},
		"other key":    {func(r *send.TLSRule) { r.KeyFile = otherKey }, "cert_file"},
		"no key":       {func(r *send.TLSRule) { r.KeyFile = "" }, "key_file"},
		"key not here": {func(r *send.TLSRule) { r.KeyFile = key + "x" }, "key_file"},
	} {
		bad := good
		tc.change(&bad)
		_, err := send.LoadTLS([]send.TLSRule{good, bad})
		var re *send.RuleError
		if !errors.As(err, &re) || re.Index != 1 || re.Field != tc.field {
			t.Errorf("%s: %v", name, err)
		}
	}
}
