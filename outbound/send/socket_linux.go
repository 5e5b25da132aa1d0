//go:build linux && (amd64 || arm64)

package send

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// socket is a TCP connection whose system calls the Go scheduler is not told of. They cannot block, so there is nothing
// for it to know, and what it does around a call that seems long, on a full machine most of them, costs more than the
// call: it hands the processor to another thread, and its watching thread stays awake for it.
//
// One goroutine reads and one writes at a time; exchange does both.
type socket struct {
	*net.TCPConn
	raw    syscall.RawConn
	rd, wr transfer
	one    [1]byte // for quiet

	// Made once: a closure for each call is garbage.
	readOnce, writeOnce, tripOnce func(fd uintptr) bool
	checkOnce                     func(fd uintptr)
}

// transfer is one read or write under way.
type transfer struct {
	buf []byte
	n   int
	err syscall.Errno
}

// newSocket wraps a connection. It fails on a closed one.
func newSocket(tcp *net.TCPConn) (*socket, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{TCPConn: tcp, raw: raw}
	s.readOnce = func(fd uintptr) bool { return s.rd.receive(fd) }
	s.writeOnce = func(fd uintptr) bool { return s.wr.send(fd) }
	s.tripOnce = s.trip
	s.checkOnce = func(fd uintptr) { s.rd.receive(fd) }
	return s, nil
}

// receive reads once; false when there is nothing to read yet.
func (t *transfer) receive(fd uintptr) bool {
	for {
		n, _, err := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.buf))),
			uintptr(len(t.buf)), syscall.MSG_DONTWAIT, 0, 0)
		if err == syscall.EINTR {
			continue
		}
		t.n, t.err = int(n), err
		return err != syscall.EAGAIN
	}
}

// send writes what it can; false when some of it has to wait.
func (t *transfer) send(fd uintptr) bool {
	for t.n < len(t.buf) {
		left := t.buf[t.n:]
		n, _, err := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(left))),
			uintptr(len(left)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch err {
		case 0:
			t.n += int(n)
		case syscall.EINTR:
		default:
			t.err = err
			return err != syscall.EAGAIN
		}
	}
	t.err = 0
	return true
}

// Read implements net.Conn.
func (s *socket) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	s.rd = transfer{buf: b}
	err := s.raw.Read(s.readOnce)
	return s.received(err)
}

func (s *socket) received(err error) (int, error) {
	t := s.rd
	s.rd = transfer{}
	switch {
	case err != nil:
		return 0, s.failed("read", err)
	case t.err != 0:
		return 0, s.failed("read", os.NewSyscallError("read", t.err))
	case t.n == 0:
		return 0, io.EOF
	}
	return t.n, nil
}

// Write implements net.Conn.
func (s *socket) Write(b []byte) (int, error) {
	s.wr = transfer{buf: b}
	err := s.raw.Write(s.writeOnce)
	return s.sent(err)
}

func (s *socket) sent(err error) (int, error) {
	t := s.wr
	s.wr = transfer{}
	switch {
	case err != nil:
		return t.n, s.failed("write", err)
	case t.err != 0:
		return t.n, s.failed("write", os.NewSyscallError("write", t.err))
	}
	return t.n, nil
}

// failed makes an error as the net package does.
func (s *socket) failed(op string, err error) error {
	var known *net.OpError
	if errors.As(err, &known) {
		err = known.Err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}

// roundTrip writes a request and waits for the first bytes of the response, without asking for them before they can be
// there. wrote tells how much of the request went out: all of it before anything is read, less when the socket takes no
// more just now or failed, so that the rest is Write's. The errors are those of Write or Read.
//
// What came before the call, and the netpoller has told of, is not noticed until more comes or the connection is reset:
// it is for connections that were quiet a moment ago.
func (s *socket) roundTrip(request, response []byte) (wrote, n int, err error) {
	s.wr, s.rd = transfer{buf: request}, transfer{buf: response}
	err = s.raw.Read(s.tripOnce)
	if s.wr.n < len(request) {
		if s.wr.err == syscall.EAGAIN {
			s.wr.err = 0
		}
		wrote, err = s.sent(err)
		s.rd = transfer{}
		return wrote, 0, err
	}
	s.wr = transfer{}
	n, err = s.received(err)
	return len(request), n, err
}

// trip is called when roundTrip begins, and then whenever there may be something to read. What can be read is looked
// for from before the request is written, so that no answer to it is missed.
func (s *socket) trip(fd uintptr) bool {
	if s.wr.n < len(s.wr.buf) {
		s.wr.send(fd)
		return s.wr.n < len(s.wr.buf) // all of it is out: wait
	}
	return s.rd.receive(fd)
}

// quiet reports whether the connection is open and has no bytes to read. If it has, one is taken.
func (s *socket) quiet() bool {
	s.rd = transfer{buf: s.one[:]}
	// Control and not Read: the deadline of an earlier request may have passed, and that is fine here.
	err := s.raw.Control(s.checkOnce)
	t := s.rd
	s.rd = transfer{}
	return err == nil && t.err == syscall.EAGAIN
}
