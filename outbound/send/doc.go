// Package send is the HTTP client of the delivery path: it sends one POST and hands back the status, the Retry-After
// header and a bounded slice of the response body. It speaks HTTP/1.1 over TCP and TLS with code of its own, because
// a general client costs more processor time than the rest of a delivery. With https endpoints that choose HTTP/2 it
// speaks that, with net/http's.
//
// It keeps connections alive per scheme, host and port, checks every address it connects to against a [Guard], bounds
// everything that it reads, and gives every failure a [Kind] and plain words. Connections may go through a [Proxy], and
// TLS may differ by host ([TLSRule]); neither changes what the Guard refuses.
//
// It is not a general HTTP client: no other methods, no redirects (a 3xx is just a status), no environment's proxy
// settings, no cookies, no HTTP/2 without TLS, no compression. It does not decide what a status means, does not sign and
// does not retry deliveries.
//
// # One request may be sent twice
//
// A receiver may close a kept-alive connection at the very moment a request is written to it. When a request fails on
// a reused connection before any byte of a response was seen, it is sent once more, on a new connection. The receiver
// may thus have seen the first one: this stays within at-least-once delivery, and webhook-id lets receivers dedupe.
// With HTTP/2 the same is done when the connection ends or the receiver refuses the stream, not when a request is reset
// for another reason.
//
// # Connections for many requests at once
//
// The first request for an https endpoint makes a connection, and others wait for what the handshake chooses: HTTP/2,
// and they share it; or HTTP/1.1, and each makes its own, as long as none is idle. After a failure nobody waits.
package send
