package main

import "github.com/sidehook/sidehook/internal/app"

// production is what the binary really is.
func production() processes {
	return processes{
		control: app.RunControl,
		sidecar: app.RunSidecar,
		dev:     app.RunDev,
		inbox:   app.RunInbox,
		version: app.Version,
	}
}
