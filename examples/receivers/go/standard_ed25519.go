package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// VerifyStandardEd25519 checks Standard Webhooks, v1a: Ed25519. The receiver has the public key whpk_… alone, which is no
// secret. body is the bytes as they came.
func VerifyStandardEd25519(publicKey string, header http.Header, body []byte, now time.Time) bool {
	const tolerance = 5 * time.Minute
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if id == "" || err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(publicKey, "whpk_"))
	if err != nil || len(key) != ed25519.PublicKeySize {
		return false
	}
	signed := append([]byte(id+"."+timestamp+"."), body...)
	for field := range strings.SplitSeq(header.Get("webhook-signature"), " ") {
		text, ok := strings.CutPrefix(field, "v1a,")
		signature, err := base64.StdEncoding.DecodeString(text)
		if ok && err == nil && ed25519.Verify(key, signed, signature) {
			return true
		}
	}
	return false
}
