// Package sign computes the signatures of requests and the headers that carry them: Standard Webhooks (v1, HMAC-SHA256;
// v1a, Ed25519), the scheme of Twenty, and HMAC as a webhook's settings say. It neither shapes nor sends requests, and
// does not verify.
package sign

import (
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strconv"
	"sync"
)

// The headers of Standard Webhooks.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

// versionV1 starts a signature of the symmetric scheme.
const versionV1 = "v1,"

// V1 appends to dst one signature of Standard Webhooks, v1,<base64 of HMAC-SHA256(key, id.ts.body)>, and returns the
// extended slice. ts is in seconds since 1970 and must be the value sent as webhook-timestamp; body must be the exact
// bytes sent. It allocates only when dst has no room.
func V1(dst, key []byte, id string, ts int64, body []byte) []byte {
	m := macs.Get().(*mac)
	dst = m.appendV1(dst, key, id, ts, body)
	macs.Put(m)
	return dst
}

// mac is HMAC-SHA256 (RFC 2104) whose parts are reused from key to key. crypto/hmac has no way to change the key, so
// it would cost half a dozen allocations per signature, or a cached state per secret.
type mac struct {
	hash  hash.Hash
	block [sha256.BlockSize]byte
	sum   [sha256.Size]byte
	head  []byte // id.ts. , kept for its capacity
}

var macs = sync.Pool{New: func() any { return &mac{hash: sha256.New()} }}

func (m *mac) appendV1(dst, key []byte, id string, ts int64, body []byte) []byte {
	m.head = appendHead(m.head[:0], id, ts)
	m.setKey(key)
	m.pad(0x36)
	m.hash.Reset()
	m.hash.Write(m.block[:])
	m.hash.Write(m.head)
	m.hash.Write(body)
	inner := m.hash.Sum(m.sum[:0])

	m.pad(0x36 ^ 0x5c) // from the inner pad to the outer one
	m.hash.Reset()
	m.hash.Write(m.block[:])
	m.hash.Write(inner)
	outer := m.hash.Sum(m.sum[:0])

	clear(m.block[:]) // a pooled value must not keep key material
	m.hash.Reset()
	return base64.StdEncoding.AppendEncode(append(dst, versionV1...), outer)
}

// appendHead appends what Standard Webhooks signs before the body.
func appendHead(dst []byte, id string, ts int64) []byte {
	dst = append(dst, id...)
	dst = append(dst, '.')
	dst = strconv.AppendInt(dst, ts, 10)
	return append(dst, '.')
}

// setKey puts key, hashed when longer than a block, into the zeroed block.
func (m *mac) setKey(key []byte) {
	clear(m.block[:])
	if len(key) <= len(m.block) {
		copy(m.block[:], key)
		return
	}
	m.hash.Reset()
	m.hash.Write(key)
	m.hash.Sum(m.block[:0])
}

func (m *mac) pad(b byte) {
	for i := range m.block {
		m.block[i] ^= b
	}
}
