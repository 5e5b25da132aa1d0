package send_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sidehook/sidehook/outbound/send"
)

// trusting is a configuration that trusts the server's certificate only.
func trusting(srv *httptest.Server) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return &tls.Config{RootCAs: roots}
}

// certificate makes a self-signed one for 127.0.0.1.
func certificate(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	change(tmpl)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// newTLSServer answers 204, over TLS as cfg says, quietly.
func newTLSServer(t *testing.T, cfg *tls.Config, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	if h == nil {
		h = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	}
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = cfg
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func TestTLSFailures(t *testing.T) {
	good := certificate(t, func(*x509.Certificate) {})
	expired := certificate(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	other := certificate(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 2)} })
	for _, tc := range []struct {
		name  string
		cert  tls.Certificate
		trust bool
		text  string
	}{
		{"unknown authority", good, false, "TLS: certificate signed by unknown authority"},
		{"expired", expired, true, "TLS: certificate has expired or is not yet valid"},
		{"other host", other, true, "TLS: certificate is not valid for the host name 127.0.0.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{tc.cert}}, nil)
			cfg := &tls.Config{RootCAs: x509.NewCertPool()}
			if tc.trust {
				cfg.RootCAs.AddCert(tc.cert.Leaf)
			}
			c := newClient(t, send.Options{TLS: cfg})
			_, err := post(t, c, endpoint(t, srv.URL+"/in?token=s3cret"))
			wantError(t, err, send.KindTLS, tc.text)
			if s := c.Stats(); s.Open != 0 {
				t.Errorf("%d connections left open", s.Open)
			}
		})
	}
}

func TestTLSPeerProblems(t *testing.T) {
	t.Run("plain HTTP on the port", func(t *testing.T) {
		srv := newRawServer(t, answering("HTTP/1.1 400 Bad Request\r\n\r\n", true))
		_, err := post(t, newClient(t, send.Options{}), endpoint(t, "https://"+srv.ln.Addr().String()))
		// http.ReadRequest fails on the client's hello, so the raw server just hangs up.
		wantError(t, err, send.KindTLS, "TLS: connection closed by the receiver during the handshake")
	})
	t.Run("HTTP server that answers", func(t *testing.T) {
		srv := newHTTPServer(t, func(http.ResponseWriter, *http.Request) {})
		_, err := post(t, newClient(t, send.Options{}), endpoint(t, "https"+srv.URL[len("http"):]))
		wantError(t, err, send.KindTLS, "TLS: the receiver does not speak TLS on this port")
	})
	t.Run("old version", func(t *testing.T) {
		srv := newTLSServer(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, nil)
		_, err := post(t, newClient(t, send.Options{TLS: trusting(srv)}), endpoint(t, srv.URL))
		wantError(t, err, send.KindTLS, "TLS: the receiver refused: protocol version not supported")
	})
	t.Run("least version cannot be lowered", func(t *testing.T) {
		srv := newTLSServer(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, nil)
		cfg := trusting(srv)
		cfg.MinVersion = tls.VersionTLS10
		_, err := post(t, newClient(t, send.Options{TLS: cfg}), endpoint(t, srv.URL))
		wantError(t, err, send.KindTLS, "TLS: the receiver refused: protocol version not supported")
	})
}

func TestTLSResumesSessionsAndAsksForHTTP1(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			states := make(chan tls.ConnectionState, 2)
			srv := newTLSServer(t, &tls.Config{MaxVersion: version, NextProtos: []string{"h2", "http/1.1"}},
				func(w http.ResponseWriter, r *http.Request) {
					states <- *r.TLS
					w.Header().Set("Connection", "close")
				})
			c := newClient(t, send.Options{TLS: trusting(srv)})
			for i := range 2 {
				mustPost(t, c, endpoint(t, srv.URL))
				st := await(t, states, "the request")
				if st.NegotiatedProtocol != "http/1.1" {
					t.Errorf("ALPN %q", st.NegotiatedProtocol)
				}
				if st.DidResume != (i == 1) {
					t.Errorf("connection %d: resumed is %t", i, st.DidResume)
				}
			}
		})
	}
}

func TestTLSConnectionsAreReused(t *testing.T) {
	srv := newTLSServer(t, nil, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	clk := newClock()
	c := newClient(t, send.Options{TLS: trusting(srv), Now: clk.Now})
	for range 20 {
		mustPost(t, c, endpoint(t, srv.URL))
		clk.advance(time.Second) // so that the check for a quiet connection is made
	}
	if s := c.Stats(); s.Dials != 1 || s.Reused != 19 || s.Retried != 0 {
		t.Errorf("%+v", s)
	}
}
