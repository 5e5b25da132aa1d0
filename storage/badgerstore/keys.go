package badgerstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/sidehook/sidehook"
)

// The first byte of a key says what it holds; see the package comment.
const (
	spaceIDs     = 'i'
	spaceBatch   = 'd'
	spaceQueue   = 'q'
	spaceSingle  = 'r'
	spaceSaved   = 'p'
	spaceHistory = 'h'
	spaceMeta    = 'm'
)

var (
	keyFormat = []byte("m/format")
	keyOrigin = []byte("m/origin")
	keyMarks  = []byte("m/marks")
	keyLog    = []byte("m/log")
	// keyMending is there while entries have to be mended: a mending.
	keyMending = []byte("m/mending")
)

// seqKey is the key of something that a commit has one of.
func seqKey(space byte, seq uint64) []byte {
	k := make([]byte, 9, 13)
	k[0] = space
	binary.BigEndian.PutUint64(k[1:], seq)
	return k
}

// indexKey is the key of something of one delivery of a batch.
func indexKey(space byte, seq uint64, index uint32) []byte {
	return binary.BigEndian.AppendUint32(seqKey(space, seq), index)
}

func seqOf(key []byte) (uint64, error) {
	if len(key) < 9 {
		return 0, fmt.Errorf("%w: key %x is too short", errCorrupt, key)
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

// pos is a place in a queue: the order in which Claim takes deliveries.
type pos struct {
	due   int64 // Unix nanoseconds
	seq   uint64
	index uint32
}

func (p pos) before(o pos) bool {
	if p.due != o.due {
		return p.due < o.due
	}
	if p.seq != o.seq {
		return p.seq < o.seq
	}
	return p.index < o.index
}

// The kinds of entries in a queue, last in the key. A run has index 0 and stands before the singles of its commit.
const (
	kindRun    = 0
	kindSingle = 1
)

const queueTail = 8 + 8 + 4 + 1

// queuePrefix starts the keys of one queue. Keys of webhooks hold no zero bytes.
func queuePrefix(key sidehook.WebhookKey) []byte {
	b := make([]byte, 0, 3+len(key.App)+len(key.ID)+queueTail)
	b = append(b, spaceQueue)
	b = append(b, key.App...)
	b = append(b, 0)
	b = append(b, key.ID...)
	return append(b, 0)
}

func appendQueueTail(b []byte, p pos, kind byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(p.due)^1<<63)
	b = binary.BigEndian.AppendUint64(b, p.seq)
	b = binary.BigEndian.AppendUint32(b, p.index)
	return append(b, kind)
}

func runKey(key sidehook.WebhookKey, due int64, seq uint64) []byte {
	return appendQueueTail(queuePrefix(key), pos{due: due, seq: seq}, kindRun)
}

func singleKey(key sidehook.WebhookKey, p pos) []byte {
	return appendQueueTail(queuePrefix(key), p, kindSingle)
}

// parseQueueKey takes a key of a queue apart.
func parseQueueKey(k []byte) (key sidehook.WebhookKey, p pos, kind byte, err error) {
	bad := fmt.Errorf("%w: queue key %x", errCorrupt, k)
	if len(k) < 3+queueTail || k[0] != spaceQueue {
		return key, p, 0, bad
	}
	name, tail := k[1:len(k)-queueTail], k[len(k)-queueTail:]
	app, rest, ok := bytes.Cut(name, []byte{0})
	if !ok || len(rest) == 0 || rest[len(rest)-1] != 0 {
		return key, p, 0, bad
	}
	key = sidehook.WebhookKey{App: string(app), ID: string(rest[:len(rest)-1])}
	p, kind = parseQueueTail(tail)
	return key, p, kind, nil
}

func parseQueueTail(tail []byte) (pos, byte) {
	return pos{
		due:   int64(binary.BigEndian.Uint64(tail) ^ 1<<63),
		seq:   binary.BigEndian.Uint64(tail[8:]),
		index: binary.BigEndian.Uint32(tail[16:]),
	}, tail[20]
}

// nanos turns a time into Unix nanoseconds; times that do not fit become the nearest that do.
func nanos(t time.Time) int64 {
	switch {
	case t.Before(minTime):
		return math.MinInt64
	case t.After(maxTime):
		return math.MaxInt64
	}
	return t.UnixNano()
}

var (
	minTime = time.Unix(0, math.MinInt64)
	maxTime = time.Unix(0, math.MaxInt64)
)

// minDue is before every due time.
const minDue = math.MinInt64

func timeOf(ns int64) time.Time { return time.Unix(0, ns).UTC() }
