// Package control is the management of a mesh's webhooks: apps, webhooks, secrets and tokens in a consistent key-value
// store (Service), what the sidecars report (Fleet), and the native REST API over both (NewHandler). It hands every
// accepted change to a Publisher, which pushes it to the sidecars.
//
// It delivers nothing, opens no listener, and knows neither which store nor which xDS server it works with.
package control
