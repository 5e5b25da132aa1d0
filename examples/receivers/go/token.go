package main

import (
	"crypto/subtle"
	"net/http"
)

// VerifyToken checks a secret in a header of the webhook's own, here X-Webhook-Token, for receivers that check no
// signature.
func VerifyToken(secret string, header http.Header) bool {
	return subtle.ConstantTimeCompare([]byte(header.Get("X-Webhook-Token")), []byte(secret)) == 1
}
