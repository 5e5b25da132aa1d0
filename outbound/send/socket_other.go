//go:build !(linux && (amd64 || arm64))

package send

import "net"

// socket is a TCP connection; on Linux it saves system calls.
type socket struct{ *net.TCPConn }

func newSocket(tcp *net.TCPConn) (*socket, error) { return &socket{tcp}, nil }

// roundTrip writes a request and waits for the first bytes of the response. wrote tells how much of the request went
// out.
func (s *socket) roundTrip(request, response []byte) (wrote, n int, err error) {
	if wrote, err = s.Write(request); err != nil {
		return wrote, 0, err
	}
	n, err = s.Read(response)
	return wrote, n, err
}

// quiet reports whether the connection is open and has no bytes to read. If it has, one is taken.
func (s *socket) quiet() bool {
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	// Control and not Read: the deadline of an earlier request may have passed, and that is fine here.
	if err := raw.Control(func(fd uintptr) { ok = nothingToRead(fd) }); err != nil {
		return false
	}
	return ok
}
