package send_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/sidehook/sidehook/outbound/send"
)

// blackhole is a TCP address on 127.0.0.1 that does not answer: a listener that accepts nothing, with its queue full.
func blackhole(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*syscall.SockaddrInet4).Port))
	for { // until the queue is full
		c, err := net.DialTimeout("tcp", to.String(), 100*time.Millisecond)
		if err != nil {
			return to
		}
		t.Cleanup(func() { _ = c.Close() })
	}
}

func TestConnectThatHangs(t *testing.T) {
	e := endpoint(t, "http://"+blackhole(t).String()+"/")
	c := newClient(t, send.Options{})
	_, err := c.Send(t.Context(), &send.Request{URL: e}, 60*time.Millisecond)
	wantError(t, err, send.KindTimeout, "timeout after 60ms connecting")

	c = newClient(t, send.Options{DialTimeout: 50 * time.Millisecond})
	_, err = c.Send(t.Context(), &send.Request{URL: e}, patience)
	wantError(t, err, send.KindTimeout, "timeout after 50ms connecting")

	ctx, cancel := context.WithCancelCause(t.Context())
	stop := time.AfterFunc(20*time.Millisecond, func() { cancel(errReason) })
	defer stop.Stop()
	_, err = c.Send(ctx, &send.Request{URL: e}, 40*time.Second)
	if err == nil {
		t.Fatal("no error")
	}
	wantError(t, err, send.KindCanceled, "canceled while connecting: the sidecar is stopping")
}

// An address that does not answer leaves time for the next one.
func TestAddressThatHangsLeavesTimeForOthers(t *testing.T) {
	hole := blackhole(t)
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.3:%d", hole.Port()))
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan bool, 1)
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = c.Write([]byte(okAnswer))
			_ = c.(*net.TCPConn).CloseWrite()
			untilClosed(c)
			_ = c.Close()
		}
		accepted <- true
	}()
	_, resolver := newDNS(t, func(string, int64) []netip.Addr { return addrs("127.0.0.1", "127.0.0.3") })
	c := newClient(t, send.Options{Resolver: resolver, DialTimeout: 2 * time.Second})
	resp := mustPost(t, c, endpoint(t, fmt.Sprintf("http://two.test.:%d/", hole.Port())))
	if resp.Status != 200 {
		t.Errorf("%+v", resp)
	}
	c.Close()
	_ = ln.Close()
	await(t, accepted, "the server to end")
}
