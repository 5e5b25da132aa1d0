package send

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/sidehook/sidehook"
)

// Kind says at which point a request failed.
type Kind string

// The kinds of failure.
const (
	KindDNS      Kind = "dns"      // the host name could not be resolved
	KindDial     Kind = "dial"     // no connection could be made
	KindTLS      Kind = "tls"      // the TLS handshake failed: certificate, version, ...
	KindTimeout  Kind = "timeout"  // it took longer than the timeout or the context's deadline
	KindProxy    Kind = "proxy"    // the proxy could not be reached, or refused
	KindBlocked  Kind = "blocked"  // the Guard refused the address; Err is a *BlockedError
	KindReset    Kind = "reset"    // the receiver closed or reset the connection
	KindProtocol Kind = "protocol" // what came back is not an HTTP response, or over a limit
	KindCanceled Kind = "canceled" // the context was canceled, or the Client is closed
)

// Error is why a request failed, in words that can be shown to the owner of a webhook: it has neither the URL's query
// nor any header in it. Err is the cause, for errors.Is and errors.As.
type Error struct {
	Kind Kind
	Err  error
	text string
}

func (e *Error) Error() string {
	if e.text == "" {
		return e.Err.Error()
	}
	return e.text
}

func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether it took too long, as in net.Error.
func (e *Error) Timeout() bool { return e.Kind == KindTimeout }

// phase is what a request is busy with; it names the place in errors.
type phase string

const (
	phaseResolve   phase = "resolving the host name"
	phaseConnect   phase = "connecting"
	phaseProxy     phase = "asking the proxy"
	phaseTurn      phase = "waiting for a connection"
	phaseHandshake phase = "in the TLS handshake"
	phaseWrite     phase = "sending the request"
	phaseAwait     phase = "waiting for the response"
	phaseHead      phase = "reading the response headers"
	phaseBody      phase = "reading the response body"
)

// protocolError is a response that breaks the rules or a limit.
type protocolError string

func (e protocolError) Error() string { return "invalid HTTP response: " + string(e) }

// errClosed is what Do returns once the Client is closed.
var errClosed = &Error{
	Kind: KindCanceled,
	Err:  fmt.Errorf("HTTP client is closed: %w", sidehook.ErrStopping),
}

// errTurn is why a request failed that waited for a connection which another one makes.
var errTurn = fmt.Errorf("the connection was not made in time: %w", os.ErrDeadlineExceeded)

// timeoutError is about a limit of d that ran out.
func timeoutError(d time.Duration, at phase, cause error) *Error {
	return &Error{Kind: KindTimeout, Err: cause, text: fmt.Sprintf("timeout after %s %s", roundDuration(d), at)}
}

// roundDuration drops digits that say nothing: 15s and not 14.999987321s.
func roundDuration(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d
}

// ended returns the error for a context that is done: a timeout when its deadline passed, else a cancellation with
// its cause.
func ended(ctx context.Context, start time.Time, at phase) *Error {
	cause := context.Cause(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return timeoutError(time.Since(start), at, cause)
	}
	return &Error{Kind: KindCanceled, Err: cause, text: fmt.Sprintf("canceled while %s: %v", at, cause)}
}

// wireError puts an error of reading or writing a connection into words.
func wireError(err error, at phase) *Error {
	var perr protocolError
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &perr):
		return &Error{Kind: KindProtocol, Err: err}
	case at == phaseHandshake:
		return handshakeError(err)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &Error{Kind: KindReset, Err: err, text: "connection reset by the receiver while " + string(at)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Kind: KindReset, Err: err, text: "connection closed by the receiver while " + string(at)}
	}
	if text := tlsText(err); text != "" {
		return &Error{Kind: KindTLS, Err: err, text: text}
	}
	if e := h2Error(err, at); e != nil {
		return e
	}
	return &Error{Kind: KindReset, Err: err, text: "connection failed while " + string(at) + ": " + plain(err)}
}

func handshakeError(err error) *Error {
	text := tlsText(err)
	switch {
	case text != "":
	case isHangup(err):
		text = "TLS: connection closed by the receiver during the handshake"
	default:
		text = "TLS: " + strings.TrimPrefix(plain(err), "tls: ")
	}
	return &Error{Kind: KindTLS, Err: err, text: text}
}

// tlsText names the common failures of TLS; "" for anything else.
func tlsText(err error) string {
	var (
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		hostname  x509.HostnameError
		record    tls.RecordHeaderError
		remote    *net.OpError
		verify    *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &authority):
		return "TLS: certificate signed by unknown authority"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "TLS: certificate has expired or is not yet valid"
	case errors.As(err, &hostname):
		return "TLS: certificate is not valid for the host name " + hostname.Host
	case errors.As(err, &record):
		return "TLS: the receiver does not speak TLS on this port"
	case errors.As(err, &remote) && remote.Op == "remote error": // how crypto/tls passes alerts on
		return "TLS: the receiver refused: " + strings.TrimPrefix(remote.Err.Error(), "tls: ")
	case errors.As(err, &verify):
		return "TLS: certificate is not valid: " + verify.Err.Error()
	}
	return ""
}

// dialError puts a failure to connect into words.
func dialError(err error) *Error { return &Error{Kind: KindDial, Err: err, text: dialText(err)} }

func dialText(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to the receiver"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "cannot connect: this process has too many open files"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset by the receiver while connecting"
	}
	return "cannot connect: " + plain(err)
}

// resolveError puts a failure to resolve host into words.
func resolveError(host string, err error) *Error {
	var dns *net.DNSError
	text := ""
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		text = "DNS: no such host " + host
	case errors.As(err, &dns) && dns.IsTimeout:
		text = "DNS: no answer in time for " + host
	case errors.As(err, &dns):
		text = "DNS: cannot resolve " + host + ": " + dns.Err
	default:
		text = "DNS: cannot resolve " + host + ": " + err.Error()
	}
	return &Error{Kind: KindDNS, Err: err, text: text}
}

// plain drops the "read tcp 10.0.0.1:2->10.0.0.2:3:" that net puts before the words that matter.
func plain(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

// isHangup reports whether the peer closed or reset the connection.
func isHangup(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isAlert reports whether err is a TLS alert from the peer.
func isAlert(err error) bool {
	var remote *net.OpError
	return errors.As(err, &remote) && remote.Op == "remote error"
}

// isTimeout reports whether err comes from a deadline, or from the end of a context.
func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// isDialTimeout reports whether making a connection took too long, by our limits or by the kernel's.
func isDialTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
