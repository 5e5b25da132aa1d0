package sign

import (
	"crypto/ed25519"
	"encoding/base64"
)

// versionV1a starts a signature of the asymmetric scheme.
const versionV1a = "v1a,"

// V1a appends to dst one signature of Standard Webhooks, v1a,<base64 of Ed25519(key, id.ts.body)>, and returns the
// extended slice. ts and body are as for V1.
func V1a(dst []byte, key ed25519.PrivateKey, id string, ts int64, body []byte) []byte {
	const longestTimestamp = len("-9223372036854775808..")
	text := appendHead(make([]byte, 0, len(id)+longestTimestamp+len(body)), id, ts)
	text = append(text, body...)
	return base64.StdEncoding.AppendEncode(append(dst, versionV1a...), ed25519.Sign(key, text))
}
