// Package egress reads what an operator says of the way out: patterns of hosts, and the URL of a proxy. It is a pure
// function of its input, so that the check of a configuration file and the client that sends requests agree. It
// connects to nothing and resolves nothing.
package egress
