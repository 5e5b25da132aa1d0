package server

import "time"

// StreamStatus describes a connected stream.
type StreamStatus struct {
	// Sidecar and Apps are what the credential says.
	Sidecar string
	Apps    []string
	// NodeID is what the client calls itself; it decides nothing.
	NodeID string
	// Delta: false for state-of-the-world.
	Delta       bool
	ConnectedAt time.Time
	// Types by type URL, those that the client asked for.
	Types map[string]TypeStatus
}

// TypeStatus describes one type on a stream.
type TypeStatus struct {
	// Sent is the version of the latest response, Acked of the latest that the client answered as applied, whole or but
	// for its rejections. They are equal when the client is up to date.
	Sent, Acked string
	AckedAt     time.Time
	// NACKs counts refusals on this stream.
	NACKs int
	// LastError is the message of the latest refusal, empty once a response was accepted whole.
	LastError string
	// Rejections are the resources that the client refused and still runs without, or in their older version; by name,
	// at most 100.
	Rejections []Rejection
}

// Rejection is a resource that a client refused.
type Rejection struct {
	Name   string
	Reason string
}

// NACK is a client's refusal of a response, or of a part of it.
type NACK struct {
	Sidecar string
	Apps    []string
	TypeURL string
	// Version of the response.
	Version string
	Message string
	// Rejections name the resources, when the client says so in a form we know.
	Rejections []Rejection
	At         time.Time
}

// ACK is a client's word that a response was applied.
type ACK struct {
	Sidecar string
	TypeURL string
	// Version of the response.
	Version string
	At      time.Time
}
