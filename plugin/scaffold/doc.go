// Package scaffold writes the folder that a new transformer starts from: sources, tests, README. What it writes in Go is
// package starter below it, and in Node the example of this repository, so that both are built and tested like all other
// code. It writes files only: it neither fetches dependencies nor builds, and knows nothing of sidecars.
package scaffold
