// Package inbox is a small receiver of webhooks for one's own machine: it shows what arrived and whether its signature
// holds, and can be told to fail or to be slow. Everything is kept in memory and bounded.
//
// It is a tool for trying and testing, not a receiver for production: anybody who can reach it can read and delete what
// arrived, so serve it on loopback only.
package inbox
