package main

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestVectors holds the receivers to the same vectors as those in the other languages.
func TestVectors(t *testing.T) {
	verifiers := map[string]func(secret string, header http.Header, body []byte, now time.Time) bool{
		"standard": VerifyStandard, "standard-ed25519": VerifyStandardEd25519, "twenty": VerifyTwenty, "hmac": VerifyHMAC,
		"token": func(secret string, header http.Header, _ []byte, _ time.Time) bool {
			return VerifyToken(secret, header)
		},
	}
	text, err := os.ReadFile("../vectors.tsv")
	if err != nil {
		t.Fatal(err)
	}
	holding, refused := map[string]bool{}, map[string]bool{}
	for line := range strings.SplitSeq(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t") // what, scheme, want, now, secret, headers, body
		header := http.Header{}
		for field := range strings.SplitSeq(f[5], "|") {
			if name, value, ok := strings.Cut(field, "="); ok {
				header.Set(name, value)
			}
		}
		now, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		got, want := verifiers[f[1]](f[4], header, []byte(f[6]), time.UnixMilli(now)), f[2] == "holds"
		if got != want {
			t.Errorf("%s, %s: holds is %t", f[1], f[0], got)
		}
		holding[f[1]], refused[f[1]] = holding[f[1]] || want, refused[f[1]] || !want
	}
	if len(holding) != len(verifiers) || len(refused) != len(verifiers) {
		t.Errorf("there are vectors of %v and against %v", holding, refused)
	}
}
