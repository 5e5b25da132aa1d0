// Package app is the composition root: it puts engines and adapters together into the processes that a person can
// start (control plane, sidecar, inbox, and dev, which is all of them), and takes them apart again in order. It holds
// no logic of the domain: what it adds is wiring, the sidecar's admin endpoint, and its reports to the fleet.
package app
