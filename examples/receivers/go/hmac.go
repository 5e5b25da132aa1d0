package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// VerifyHMAC checks the scheme hmac of a webhook whose signing is
//
//	{"scheme": "hmac", "header": "X-Signature", "prefix": "v0=", "template": "v0:{timestamp}:{body}",
//	 "timestamp_header": "X-Signature-Timestamp"}
//
// body is the bytes as they came.
func VerifyHMAC(secret string, header http.Header, body []byte, now time.Time) bool {
	const tolerance = 5 * time.Minute
	timestamp := header.Get("X-Signature-Timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("v0:" + timestamp + ":"))
	mac.Write(body)
	text, ok := strings.CutPrefix(header.Get("X-Signature"), "v0=")
	given, err := hex.DecodeString(text)
	return ok && err == nil && hmac.Equal(given, mac.Sum(nil))
}
