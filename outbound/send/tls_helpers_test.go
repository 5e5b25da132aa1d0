package send_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
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
