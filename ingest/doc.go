// Package ingest is the local ext endpoint of a sidecar: the way a product service on the same host hands over events.
// It speaks gRPC (sidehook.events.v1.EventService, on loopback and on a unix socket) and CloudEvents 1.0 over HTTP,
// checks everything that comes in, and submits it to an Acceptor. An answer means that the Acceptor reported the events
// durable.
//
// It does not match, store or deliver, and it does not know who does.
package ingest
