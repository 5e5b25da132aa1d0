package badgerstore

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// blockTarget is the size before compression at which a block is closed: small enough to decode for one delivery of a
// scattered backlog, large enough to compress well.
const blockTarget = 48 << 10

const blockVersion = 1

// What the plan of an event says about the places of its deliveries.
const (
	planSameHooks = 1 << 0 // the webhooks are those of the event before
	planDues      = 1 << 1 // a due time for each delivery follows; else all were taken
	planSkip      = 1 << 2 // indices were skipped before this event; their number follows
)

// How the due time of one delivery is given.
const (
	dueTaken  = 0 // was taken; due when accepted if it is ever queued
	dueAtOnce = 1 // queued, due when accepted
	dueAt     = 2 // queued, due at the 8 bytes that follow
)

// blockWriter builds the blocks of a batch.
type blockWriter struct {
	body  []byte
	count int
	next  uint32 // index after the last delivery
	prev  []storage.Placement
	dict  map[sidehook.WebhookKey]uint32
}

func (w *blockWriter) reset() {
	w.body = w.body[:0]
	w.count = 0
	w.next = 0
	w.prev = nil
	clear(w.dict)
}

func (w *blockWriter) full() bool { return len(w.body) >= blockTarget }

// add appends an event whose first delivery has the index first. hooks must stay unchanged until the block is closed.
func (w *blockWriter) add(first uint32, hooks []storage.Placement, record []byte) {
	if w.dict == nil {
		w.dict = make(map[sidehook.WebhookKey]uint32)
	}
	flags := byte(0)
	if w.count > 0 && sameHooks(w.prev, hooks) {
		flags |= planSameHooks
	}
	if slices.ContainsFunc(hooks, func(p storage.Placement) bool { return p.Queued }) {
		flags |= planDues
	}
	if first != w.next {
		flags |= planSkip
	}
	w.body = append(w.body, flags)
	if flags&planSkip != 0 {
		w.body = binary.AppendUvarint(w.body, uint64(first-w.next))
	}
	if flags&planSameHooks == 0 {
		w.addHooks(hooks)
	}
	if flags&planDues != 0 {
		w.addDues(hooks)
	}
	w.body = appendBytes(w.body, record)
	w.prev = hooks
	w.next = first + uint32(len(hooks))
	w.count++
}

// addHooks writes the webhooks: 0 and the names for a new one, or 1 + its number in the block.
func (w *blockWriter) addHooks(hooks []storage.Placement) {
	w.body = binary.AppendUvarint(w.body, uint64(len(hooks)))
	for i := range hooks {
		key := hooks[i].Webhook
		if n, ok := w.dict[key]; ok {
			w.body = binary.AppendUvarint(w.body, uint64(n)+1)
			continue
		}
		w.dict[key] = uint32(len(w.dict))
		w.body = append(w.body, 0)
		w.body = appendText(w.body, key.App)
		w.body = appendText(w.body, key.ID)
	}
}

func (w *blockWriter) addDues(hooks []storage.Placement) {
	for i := range hooks {
		switch p := &hooks[i]; {
		case !p.Queued:
			w.body = append(w.body, dueTaken)
		case p.DueAt.IsZero():
			w.body = append(w.body, dueAtOnce)
		default:
			w.body = append(w.body, dueAt)
			w.body = binary.BigEndian.AppendUint64(w.body, uint64(nanos(p.DueAt)))
		}
	}
}

// close appends the value of the block to dst, and begins the next one.
func (w *blockWriter) close(dst []byte, accepted int64) []byte {
	head := make([]byte, 0, 24)
	head = append(head, blockVersion)
	head = binary.BigEndian.AppendUint64(head, uint64(accepted))
	head = binary.AppendUvarint(head, uint64(w.count))
	dst = append(dst, byte(len(head)))
	dst = append(dst, head...)
	dst = pack(dst, w.body)
	w.reset()
	return dst
}

func sameHooks(a, b []storage.Placement) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Webhook != b[i].Webhook {
			return false
		}
	}
	return true
}

// block is a decoded block. It is not changed after decodeBlock.
type block struct {
	accepted int64
	entries  []blockEntry
	size     int // about what it takes in memory
}

// blockEntry is an event with its deliveries.
type blockEntry struct {
	first  uint32 // index of the first delivery
	hooks  []sidehook.WebhookKey
	queued []bool  // with dues: which were queued by their commit
	dues   []int64 // of each delivery if it is in a run; nil: when accepted
	record []byte
}

// decodeBlock undoes blockWriter. The result may share p.
func decodeBlock(p []byte) (*block, error) {
	if len(p) == 0 || len(p) < 1+int(p[0]) {
		return nil, fmt.Errorf("%w: block ends early", errCorrupt)
	}
	head := reader{b: p[1 : 1+p[0]]}
	if v := head.byte(); head.err == nil && v != blockVersion {
		return nil, fmt.Errorf("%w: block has version %d, not %d", errCorrupt, v, blockVersion)
	}
	b := &block{accepted: int64(head.uint64())}
	count := head.uvarint()
	if err := head.done(); err != nil {
		return nil, err
	}
	body, err := unpack(p[1+p[0]:])
	if err != nil {
		return nil, err
	}
	b.size = len(body)
	r := reader{b: body}
	if count > uint64(len(body)) {
		return nil, fmt.Errorf("%w: block counts more events than it has bytes", errCorrupt)
	}
	d := blockDecoder{r: &r, accepted: b.accepted}
	b.entries = make([]blockEntry, 0, count)
	for range count {
		b.entries = append(b.entries, d.entry())
		if r.err != nil {
			return nil, r.err
		}
	}
	return b, r.done()
}

type blockDecoder struct {
	r        *reader
	accepted int64
	next     uint64
	prev     []sidehook.WebhookKey
	dict     []sidehook.WebhookKey
}

func (d *blockDecoder) entry() blockEntry {
	r := d.r
	flags := r.byte()
	if flags&planSkip != 0 {
		d.next += r.uvarint() & (1<<32 - 1)
	}
	if flags&planSameHooks == 0 {
		d.prev = d.hooks()
	}
	e := blockEntry{first: uint32(d.next), hooks: d.prev}
	d.next += uint64(len(d.prev))
	if d.next > 1<<32-1 {
		r.fail("too many deliveries")
	}
	if flags&planDues != 0 {
		d.places(&e)
	}
	e.record = r.bytes()
	return e
}

func (d *blockDecoder) hooks() []sidehook.WebhookKey {
	n := d.r.count(1)
	hooks := make([]sidehook.WebhookKey, 0, n)
	for range n {
		ref := d.r.index(len(d.dict) + 1)
		if d.r.err != nil {
			return nil
		}
		if ref == 0 {
			key := sidehook.WebhookKey{App: d.r.text()}
			key.ID = d.r.text()
			d.dict = append(d.dict, key)
			ref = len(d.dict)
		}
		hooks = append(hooks, d.dict[ref-1])
	}
	return hooks
}

func (d *blockDecoder) places(e *blockEntry) {
	if len(e.hooks) > len(d.r.b) {
		d.r.fail("ends early")
		return
	}
	e.queued = make([]bool, len(e.hooks))
	e.dues = make([]int64, len(e.hooks))
	for i := range e.hooks {
		e.dues[i] = d.accepted
		switch d.r.byte() {
		case dueTaken:
		case dueAtOnce:
			e.queued[i] = true
		case dueAt:
			e.queued[i] = true
			e.dues[i] = int64(d.r.uint64())
		default:
			d.r.fail("bad due mark")
			return
		}
	}
}

// find gives the number of the event of the delivery with an index, or -1.
func (b *block) find(index uint32) int {
	i := sort.Search(len(b.entries), func(i int) bool { return b.entries[i].end() > index })
	if i == len(b.entries) || b.entries[i].first > index {
		return -1
	}
	return i
}

func (e *blockEntry) end() uint32 { return e.first + uint32(len(e.hooks)) }

// hook is the webhook of the delivery with an index of this event.
func (e *blockEntry) hook(index uint32) sidehook.WebhookKey { return e.hooks[index-e.first] }

// runDue is when the delivery with an index is due if it is in a run.
func (e *blockEntry) runDue(index uint32, accepted int64) int64 {
	if e.dues == nil {
		return accepted
	}
	return e.dues[index-e.first]
}

// placements gives the deliveries as they were appended, to write the event again.
func (e *blockEntry) placements(accepted int64) []storage.Placement {
	out := make([]storage.Placement, len(e.hooks))
	for i, key := range e.hooks {
		out[i].Webhook = key
		if e.queued != nil && e.queued[i] {
			out[i].Queued = true
			if e.dues[i] != accepted {
				out[i].DueAt = timeOf(e.dues[i])
			}
		}
	}
	return out
}
