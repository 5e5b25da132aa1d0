// Package client is the sidecar's end of configuration: it subscribes to every resource type over delta xDS, checks each
// resource, hands Snapshots to the sidecar, and tells the control plane what it applied and what it refused and why.
// It keeps the last-known-good configuration on disk, so that a sidecar starts without its control plane. It does not
// dial (the caller brings the connection, with its credential and keepalive), and does not deliver anything.
//
// What always holds:
//
//   - A bad resource is refused by name; the others of the same response apply, and its older version stays live.
//   - A response is answered once, and the next one is read only after this one was applied.
//   - The first Snapshot has everything: all types, in whole. No configuration is not empty configuration.
//   - A version counts as known (and is offered when connecting again) only after its resource was applied.
package client
