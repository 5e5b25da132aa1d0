package config

import _ "embed"

// ExampleSidecar is a commented file of KindSidecar with every key at its default, or at a sensible value where there
// is none. It passes Check.
//
//go:embed sidecar.example.yaml
var ExampleSidecar string

// ExampleControl is the same for KindControl.
//
//go:embed control.example.yaml
var ExampleControl string
