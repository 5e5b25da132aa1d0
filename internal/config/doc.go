// Package config reads the YAML files that a sidecar and a control plane are started with. It is strict: an unknown
// key, a wrong type or a contradiction is a problem with its line, and all problems of a file are reported at once.
//
// It opens no listener and reads none of the files it names, and it does not hold webhooks: those are resources, which
// come over xDS or from the file that xds/file reads.
package config
