package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// outside is a public address that no test machine reaches by itself.
const outside = "93.184.215.14"

// tunneller is an HTTP proxy with a login. It connects to this machine for whatever address it is asked, and keeps what
// it was asked for.
type tunneller struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	ends  sync.WaitGroup
}

const proxyLogin = "sidecar:hush-hush"

func newTunneller(t *testing.T) *tunneller {
	t.Helper()
	p := &tunneller{}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.Close()
		p.ends.Wait()
	})
	return p
}

// ServeHTTP opens a tunnel.
func (p *tunneller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.RequestURI)
	p.mu.Unlock()
	if r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(proxyLogin)) {
		http.Error(w, "who are you", http.StatusProxyAuthRequired)
		return
	}
	_, port, err := net.SplitHostPort(r.RequestURI)
	if err != nil {
		http.Error(w, "no address", http.StatusBadRequest)
		return
	}
	up, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		http.Error(w, "no answer", http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	down, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = up.Close()
		return
	}
	for _, way := range []struct {
		to   net.Conn
		from io.Reader // down's first bytes may have come with the flush of the answer, before the hijack
	}{{up, buffered}, {down, up}} {
		p.ends.Go(func() {
			_, _ = io.Copy(way.to, way.from)
			_ = way.to.Close()
		})
	}
}

func (p *tunneller) was() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// TestNetworkProxy: deliveries go through a proxy, over connections that are used again; what may not be reached is not
// asked for; the login shows nowhere.
func TestNetworkProxy(t *testing.T) {
	far, near := newCounted(t, "far"), newCounted(t, "near")
	proxy := newTunneller(t)
	port := far.url[strings.LastIndex(far.url, ":")+1 : strings.LastIndex(far.url, "/")]
	pl := newPlace(t, "config_file: webhooks.yaml", fmt.Sprintf(`outbound:
  allow_loopback: true
  deny_cidrs: [198.41.0.0/24]
  proxy: {url: "http://%s@%s"}
`, proxyLogin, proxy.Listener.Addr()))
	text := fmt.Sprintf(`apps:
  - id: demo
    webhooks:
      - {id: far, url: "http://%s:%s/in", events: ["*"], secrets: [{id: s, key: %s}]}
      - {id: near, url: %q, events: ["*"], secrets: [{id: s, key: %s}]}
`, outside, port, far.secret.Reveal(), near.url, near.secret.Reveal())
	refused := []string{
		"10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "[fd00::1]", "[64:ff9b::a00:1]", "[::ffff:10.0.0.1]", "198.41.0.4", "0.0.0.0",
	}
	for i, host := range refused {
		text += fmt.Sprintf("      - {id: r%d, url: \"https://%s/in\", events: [\"only.refused\"], automatic_retry: false, secrets: [{id: s, key: %s}]}\n",
			i, host, far.secret.Reveal())
	}
	pl.write("webhooks.yaml", text)
	s := pl.open()
	ids := numbered("evt", 50)
	events := eventsv1.NewEventServiceClient(dialEvents(t, s.grpc))
	for _, id := range ids { // one after the other
		publishOn(t, events, id)
		far.awaitArrival(t, id)
		near.awaitArrival(t, id)
		s.awaitIdle()
	}
	publish(t, s.grpc, "only.refused", "evt_refused")
	s.awaitIdle()
	if asked := proxy.was(); len(asked) != 1 || asked[0] != "CONNECT "+outside+":"+port {
		t.Errorf("the proxy was asked for %q, want one tunnel", asked)
	}
	for i, host := range refused {
		failed := s.failuresOf(fmt.Sprintf("r%d", i))
		if len(failed) != 1 || !strings.Contains(failed[0], "which deliveries may not go to") {
			t.Errorf("%s: the failures are %q", host, failed)
		}
	}
	s.stop(syscall.SIGTERM)
	if said := s.out.String() + s.log.String(); strings.Contains(said, "hush") {
		t.Errorf("the login of the proxy shows: %s", said)
	}
}

// publishOn emits an event over a connection that there is already.
func publishOn(t *testing.T, events eventsv1.EventServiceClient, id string) {
	t.Helper()
	one := &eventsv1.PublishRequest{Events: []*eventsv1.Event{newEvent(id, "person.created")}}
	if _, err := events.Publish(t.Context(), one, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
}

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert tls.Certificate
	next int64
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, next: 1}
	a.cert = a.issue(name, nil)
	return a
}

// issue makes a certificate, signed by the authority, or by itself when there is none yet.
func (a *authority) issue(name string, hosts []string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.next++
	made := &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: a.cert.Leaf == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			made.IPAddresses = append(made.IPAddresses, ip)
		}
	}
	parent, signer := made, any(key)
	if a.cert.Leaf != nil {
		parent, signer = a.cert.Leaf, a.cert.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, made, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert.Leaf)
	return pool
}

// files writes a certificate and its key into the place.
func (pl *place) files(name string, cert tls.Certificate) {
	pl.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		pl.t.Fatal(err)
	}
	pl.write(name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
	pl.write(name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
}

// TestNetworkTLS: an endpoint of a private authority that asks for a client certificate gets it, over HTTP/2 and one
// connection; a certificate that changes on disk is used without a restart; the endpoint of another host gets none.
func TestNetworkTLS(t *testing.T) {
	own := newAuthority(t, "corp")
	e := newEndpoint(t, "corp")
	var mu sync.Mutex
	clients, protos, conns := map[string]int{}, map[string]int{}, 0
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		clients[r.TLS.PeerCertificates[0].Subject.CommonName]++
		protos[r.Proto]++
		mu.Unlock()
		e.ServeHTTP(w, r)
	}))
	srv.EnableHTTP2 = true
	srv.TLS = &tls.Config{
		Certificates: []tls.Certificate{own.issue("server", []string{"127.0.0.1", "localhost"})},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: own.pool(), MinVersion: tls.VersionTLS13,
	}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			mu.Lock()
			conns++
			mu.Unlock()
		}
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)

	pl := newPlace(t, "config_file: webhooks.yaml", `outbound:
  allow_loopback: true
  tls:
    - {hosts: [127.0.0.1], ca_file: ca.pem, cert_file: client.pem, key_file: client.key, min_version: "1.3"}
    - {hosts: [localhost], ca_file: ca.pem}
`)
	pl.files("ca", own.cert)
	pl.files("client", own.issue("first", nil))
	pl.write("webhooks.yaml", fmt.Sprintf(`apps:
  - id: demo
    webhooks:
      - {id: corp, url: %q, events: ["*"], secrets: [{id: s, key: %s}]}
      - {id: nobody, url: %q, events: ["only.this"], automatic_retry: false, secrets: [{id: s, key: %s}]}
`, srv.URL+"/in", e.secret.Reveal(), strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)+"/in", e.secret.Reveal()))
	s := pl.open()
	ids := numbered("evt", 300)
	publish(t, s.grpc, "person.created", ids...)
	e.awaitArrival(t, ids...)
	s.awaitIdle()
	mu.Lock()
	if conns != 1 || protos["HTTP/2.0"] != 300 || clients["first"] != 300 {
		t.Errorf("%d connections, requests by protocol %v, by client %v", conns, protos, clients)
	}
	mu.Unlock()

	pl.files("client", own.issue("second", nil))
	events, n := eventsv1.NewEventServiceClient(dialEvents(t, s.grpc)), 0
	await(t, "the new certificate is used", func() error {
		n++
		id := fmt.Sprintf("evt_rotated_%d", n)
		publishOn(t, events, id)
		e.awaitArrival(t, id)
		mu.Lock()
		defer mu.Unlock()
		if clients["second"] == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	mu.Lock()
	if conns != 2 {
		t.Errorf("%d connections, want one for each certificate", conns)
	}
	mu.Unlock()

	publish(t, s.grpc, "only.this", "evt_nobody")
	await(t, "the attempt without a certificate has failed", func() error {
		failed := s.failuresOf("nobody")
		if len(failed) == 1 && strings.Contains(failed[0], "asked for a client certificate") {
			return nil
		}
		return fmt.Errorf("%q", failed)
	})
	s.awaitIdle()
	s.stop(syscall.SIGTERM)
}

// TestNetworkFilesThatCannotBeUsed: a sidecar that is given a file it cannot use says which, and does not start.
func TestNetworkFilesThatCannotBeUsed(t *testing.T) {
	for name, tc := range map[string]struct{ outbound, says string }{
		"no PEM":     {`{tls: [{hosts: ["*"], ca_file: junk}]}`, "outbound.tls[0].ca_file: "},
		"no pair":    {`{tls: [{hosts: [a.test]  , min_version: "1.3"}, {hosts: ["*"], cert_file: junk, key_file: junk}]}`, "outbound.tls[1].cert_file: "},
		"of all":     {`{ca_file: junk}`, "outbound.ca_file: "},
		"a password": {`{proxy: {url: "http://u:hush-hush@p.test:x"}}`, "outbound.proxy.url: "},
	} {
		pl := newPlace(t, "config_file: webhooks.yaml", "outbound: "+tc.outbound+"\n")
		pl.write("webhooks.yaml", "apps: []\n")
		if err := os.WriteFile(pl.dir+"/junk", []byte("junk"), 0o600); err != nil {
			t.Fatal(err)
		}
		p := pl.start()
		select {
		case <-p.exited:
		case <-time.After(patience):
			t.Fatalf("%s: it runs", name)
		}
		if said := p.out.String() + p.log.String(); p.err == nil || !strings.Contains(said, tc.says) || strings.Contains(said, "hush") {
			t.Errorf("%s: %v, %s", name, p.err, said)
		}
	}
}
