package send_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"testing"
)

type (
	xCertificate = x509.Certificate
	bufioReader  = bufio.Reader
)

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// trustingCert is a configuration that trusts one certificate only.
func trustingCert(cert tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	return &tls.Config{RootCAs: roots}
}

// newRawTLS runs serve for every connection, over TLS, and returns its URL.
func newRawTLS(t testing.TB, cfg *tls.Config, serve func(c net.Conn)) string {
	t.Helper()
	srv := newRawServer(t, func(c net.Conn, _ *bufio.Reader) {
		over := tls.Server(c, cfg)
		serve(over)
		_ = over.CloseWrite()
	})
	return "https://" + srv.ln.Addr().String()
}

// writePEM writes a certificate and its key.
func writePEM(t testing.TB, certFile, keyFile string, cert tls.Certificate) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
