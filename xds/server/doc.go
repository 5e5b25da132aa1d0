// Package server is the control plane's end of configuration: it keeps the resources of every app and pushes them over
// xDS (aggregated: delta for sidecars, state-of-the-world for plain clients) to every stream whose credential allows
// the app. It decides nothing about configuration, stores nothing and knows no management API: whoever owns the
// configuration calls Set, Replace and RemoveApp.
//
// The protocol's state machine is go-control-plane's; the cache behind it is this package's own. The caches of
// go-control-plane compare and copy every resource for every open stream on every change, and keep a map of all
// versions per stream. Here an app's resources of one type are a log ordered by a sequence number, and a stream that
// is up to date is one number: what it has seen. A change costs what changed, times the streams that see it; a stream
// costs its initial synchronization.
package server
