package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

// VerifyTwenty checks a request of the format twenty: hex HMAC-SHA256 over timestamp:body, with the timestamp in
// milliseconds. body is the bytes as they came.
func VerifyTwenty(secret string, header http.Header, body []byte, now time.Time) bool {
	const tolerance = 5 * time.Minute
	timestamp := header.Get("X-Twenty-Webhook-Timestamp")
	milliseconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.UnixMilli(milliseconds)).Abs() > tolerance {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + ":"))
	mac.Write(body)
	given, err := hex.DecodeString(header.Get("X-Twenty-Webhook-Signature"))
	return err == nil && hmac.Equal(given, mac.Sum(nil))
}
