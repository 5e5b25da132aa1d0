package plugin

import goplugin "github.com/hashicorp/go-plugin"

// What host and plugin agree on before they speak; transformers in other languages print and check the same.
const (
	// ProtocolVersion is the version of sidehook.transform.v1 in the handshake line.
	ProtocolVersion = 1
	// CookieKey and CookieValue stand in the environment of a transformer that a sidecar started. They tell a start by
	// hand from a real one and are no protection.
	CookieKey   = "SIDEHOOK_TRANSFORMER"
	CookieValue = "b0a7b2d5-6f0d-4f65-9df1-1f2f2b6f6a31"
	// ServiceName is the name of the transformer in the set of go-plugin.
	ServiceName = "transformer"
)

// Handshake is the handshake of go-plugin with the values above.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{
		ProtocolVersion: ProtocolVersion, MagicCookieKey: CookieKey, MagicCookieValue: CookieValue,
	}
}
