// Package e2e holds tests that run the built binary as its users do: real processes, real listeners on loopback, kills
// and restarts included. What one package can show by itself is tested there. It has no code of its own.
package e2e
