package main

import (
	"bytes"
	"math/rand/v2"
	"time"
)

// A body is a JSON object with a stamp and a text that looks different in every event and cannot be compressed much, so
// that what the sidecar writes to disk is not flattered.
const (
	padKey   = `,"pad":"`
	padStart = 1 + stampLen + len(padKey)
	minPad   = 8
)

// newBody is a body of n bytes, or of the fewest there can be.
func newBody(n int) []byte {
	b := make([]byte, max(n, padStart+minPad+len(`"}`)))
	b[0] = '{'
	copy(b[1+stampLen:], padKey)
	copy(b[len(b)-2:], `"}`)
	return b
}

// fillBody makes b the body of an event.
func fillBody(b []byte, seq uint64, at time.Time) {
	writeStamp(b[1:], seq, at.UnixNano())
	pad := b[padStart : len(b)-2]
	for start := seq * stride; len(pad) > 0; start++ {
		pad = pad[copy(pad, noise[start%uint64(len(noise)-1):]):]
	}
}

// stride is how far the texts of two events in a row are apart in noise: a prime, so that they begin everywhere.
const stride = 7919

var noise = makeNoise(1 << 20)

func makeNoise(n int) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
	r := rand.New(rand.NewPCG(1, 2)) // the same in every run
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return b
}

// A stamp is what the receiver looks for in a body: which event it is, and when it was due to be published, in
// nanoseconds since 1970. Its length is fixed.
const (
	seqKey = `"seq":1`
	atKey  = `,"at":`
	digits = 19
	// maxSeq keeps a body that was not ours from making a bitmap of any size.
	maxSeq = 1 << 28
)

// writeStamp writes the stamp into b, which has room for it. The digit in seqKey keeps the number free of leading
// zeros, which JSON does not allow.
func writeStamp(b []byte, seq uint64, at int64) {
	copy(b, seqKey)
	writeDigits(b[len(seqKey):], seq, digits-1)
	copy(b[len(seqKey)+digits-1:], atKey)
	writeDigits(b[len(seqKey)+digits-1+len(atKey):], uint64(at), digits)
}

const stampLen = len(seqKey) + digits - 1 + len(atKey) + digits

func writeDigits(b []byte, n uint64, width int) {
	for i := width - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}

func readStamp(body []byte) (seq uint64, at int64, ok bool) {
	i := bytes.Index(body, []byte(seqKey))
	if i < 0 || len(body)-i < stampLen {
		return 0, 0, false
	}
	b := body[i+len(seqKey):]
	seq, ok1 := readDigits(b[:digits-1])
	n, ok2 := readDigits(b[digits-1+len(atKey):][:digits])
	return seq, int64(n), ok1 && ok2 && seq < maxSeq
}

func readDigits(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}
