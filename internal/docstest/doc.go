// Package docstest holds README.md and docs/ to the truth: it runs every console block against real processes and
// compares what they print, builds the program that the page for transformer authors shows, follows every link, and
// compares the tables of keys, endpoints and metrics with the code. It has no code of its own, and says nothing about
// whether the pages are any good.
//
// A console block has commands, each after "$ ", going on over lines until bash finds them complete, and below each
// what it prints: all of it, spaces aside, with … for what differs from run to run. A command without anything below it
// may print what it likes. All must succeed. Blocks of a page run in order in one shell, in a folder where bin/ is what
// `make build` makes and sidehook/ is this checkout. "sidehook dev", "control" and "sidecar" run on beside the commands
// after them. Addresses 127.0.0.1:44xx become free ports on the way in and themselves again on the way out. What cannot
// run here is marked ```sh, ```yaml or ```text.
package docstest
