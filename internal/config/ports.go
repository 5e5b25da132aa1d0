package config

// Ports are the addresses of everything that `sidehook dev` runs in one process. Port 0 picks a free port.
type Ports struct {
	// GRPC, HTTP and Admin are the sidecar's: see SidecarListen.
	GRPC, HTTP, Admin string
	// XDS and REST are the control plane's: see ControlListen.
	XDS, REST string
	// Inbox shows what arrived.
	Inbox string
}

// DefaultPorts returns the addresses that everything has unless told otherwise.
func DefaultPorts() Ports {
	return Ports{
		GRPC: "127.0.0.1:4460", HTTP: "127.0.0.1:4461", Admin: "127.0.0.1:4462",
		XDS: "127.0.0.1:4470", REST: "127.0.0.1:4471", Inbox: "127.0.0.1:4480",
	}
}
