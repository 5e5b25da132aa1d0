package badgerstore

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/sidehook/sidehook"
)

const historyVersion = 1

// The flags of one result in the history; the low three bits are its place.
const (
	resultPlaceMask = 7
	resultAttempt   = 1 << 3
	resultSaved     = 1 << 4
	resultFirst     = 1 << 5 // the first attempt's time follows; else it is this attempt's, if there is one
)

// result is what one commit recorded about one delivery. AttemptCount is what it stood at then.
type result struct {
	id       sidehook.DeliveryID
	place    place
	attempts int
	firstAt  int64
	saved    savedID
	attempt  *sidehook.Attempt
}

// historyHead is the part of an h/ value that trimming needs.
type historyHead struct {
	at       int64    // when it was committed, Unix nanoseconds
	finished []uint64 // batches that it finished
	results  int
}

// historyWriter builds the h/ value of one commit. Texts are written once and then by number; headers that repeat
// those of the result before are one bit each. Delivery ids in headers are a mark.
type historyWriter struct {
	at    int64
	ids   []byte
	body  []byte
	count int
	prev  sidehook.DeliveryID
	dict  map[string]uint32
	heads []sidehook.Header
}

func (w *historyWriter) reset(at int64) {
	w.at = at
	w.ids, w.body, w.count = w.ids[:0], w.body[:0], 0
	w.prev, w.heads = sidehook.DeliveryID{}, nil
	if w.dict == nil {
		w.dict = make(map[string]uint32)
	}
	clear(w.dict)
}

// size is about what the value takes before compression.
func (w *historyWriter) size() int { return len(w.ids) + len(w.body) }

func (w *historyWriter) add(res *result) {
	w.ids = binary.AppendVarint(w.ids, int64(res.id.Batch-w.prev.Batch))
	w.ids = binary.AppendVarint(w.ids, int64(res.id.Index)-int64(w.prev.Index))
	w.prev = res.id
	w.count++
	flags := byte(res.place)
	if res.attempt != nil {
		flags |= resultAttempt
	}
	if res.saved != (savedID{}) {
		flags |= resultSaved
	}
	first := res.firstAt != 0 && (res.attempt == nil || nanos(res.attempt.At) != res.firstAt)
	if first {
		flags |= resultFirst
	}
	w.body = append(w.body, flags)
	w.body = binary.AppendUvarint(w.body, uint64(res.attempts))
	if first {
		w.body = binary.BigEndian.AppendUint64(w.body, uint64(res.firstAt))
	}
	if flags&resultSaved != 0 {
		w.body = append(w.body, res.saved[:]...)
	}
	if res.attempt != nil {
		w.attempt(res)
	}
}

// The flags of an attempt.
const (
	attemptFailed   = 1 << 0 // an error text follows
	attemptResponse = 1 << 1 // a response body follows
	attemptRetryAt  = 1 << 2 // the time of the next one follows
	attemptNumber   = 1 << 3 // its number follows; else it is the count so far
)

func (w *historyWriter) attempt(res *result) {
	a := res.attempt
	flags := byte(0)
	if a.Error != "" {
		flags |= attemptFailed
	}
	if a.Response != nil {
		flags |= attemptResponse
	}
	if !a.Outcome.RetryAt.IsZero() {
		flags |= attemptRetryAt
	}
	if a.Number != res.attempts {
		flags |= attemptNumber
	}
	b := append(w.body, flags, byte(a.Outcome.Kind))
	if flags&attemptNumber != 0 {
		b = binary.AppendVarint(b, int64(a.Number))
	}
	b = binary.AppendVarint(b, nanos(a.At)-w.at)
	b = binary.AppendVarint(b, int64(a.Latency))
	b = binary.AppendUvarint(b, uint64(max(a.Status, 0)))
	if flags&attemptRetryAt != 0 {
		b = binary.AppendVarint(b, nanos(a.Outcome.RetryAt)-w.at)
	}
	b = w.text(b, res, a.URL)
	if flags&attemptFailed != 0 {
		b = w.text(b, res, a.Error)
	}
	if flags&attemptResponse != 0 {
		b = w.text(b, res, string(a.Response[:min(len(a.Response), sidehook.MaxRecordedResponse)]))
	}
	w.body = w.headers(b, res, a.RequestHeaders)
}

// headers writes how many there are, a bit for each that equals the one at its place before, and the others.
func (w *historyWriter) headers(b []byte, res *result, hs []sidehook.Header) []byte {
	b = binary.AppendUvarint(b, uint64(len(hs)))
	bits := len(b)
	for range (len(hs) + 7) / 8 {
		b = append(b, 0)
	}
	for i, h := range hs {
		if i < len(w.heads) && w.heads[i] == h {
			b[bits+i/8] |= 1 << (i % 8)
			continue
		}
		b = w.text(b, res, h.Key)
		b = w.text(b, res, h.Value)
	}
	w.heads = hs
	return b
}

// How a text is given: new, the delivery's own id, or refFirst + its number.
const (
	refNew = iota
	refDelivery
	refFirst
)

// text writes a text by reference where it can.
func (w *historyWriter) text(b []byte, res *result, s string) []byte {
	if n, ok := w.dict[s]; ok {
		return binary.AppendUvarint(b, uint64(n)+refFirst)
	}
	if len(s) == deliveryIDLen && s == res.id.String() {
		return append(b, refDelivery)
	}
	w.dict[s] = uint32(len(w.dict))
	b = append(b, refNew)
	return appendText(b, s)
}

var deliveryIDLen = len(sidehook.DeliveryID{}.String())

// encode appends the value. The head stays outside the compressed part, so that trimming needs no decompression.
func (w *historyWriter) encode(dst []byte, finished []uint64) []byte {
	dst = w.encodeHead(dst, finished)
	if w.count == 0 {
		return dst
	}
	all := make([]byte, 0, len(w.ids)+len(w.body))
	all = append(append(all, w.ids...), w.body...)
	return pack(dst, all)
}

func (w *historyWriter) encodeHead(dst []byte, finished []uint64) []byte {
	dst = append(dst, historyVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(w.at))
	dst = binary.AppendUvarint(dst, uint64(len(finished)))
	for _, seq := range finished {
		dst = binary.AppendUvarint(dst, seq)
	}
	return binary.AppendUvarint(dst, uint64(w.count))
}

// historyEntry is the value of h/: where the results are, and their head.
type historyEntry struct {
	ref blobRef // zero when there are none
	historyHead
}

// stored is what its blob takes.
func (h *historyEntry) stored() int64 {
	if h.ref == (blobRef{}) {
		return 0
	}
	return h.ref.stored()
}

// size is what the entry takes in the history.
func (h *historyEntry) size(key, val []byte) int64 {
	if h.ref == (blobRef{}) {
		return int64(len(key) + len(val))
	}
	return int64(len(key)+len(val)-len(h.ref.encode(nil))) + h.stored()
}

func decodeHistoryEntry(p []byte) (historyEntry, error) {
	r := reader{b: p}
	ref := r.ref()
	h := historyEntry{ref, readHistoryHead(&r)}
	return h, r.done()
}

func decodeRef(p []byte) (blobRef, error) {
	r := reader{b: p}
	ref := r.ref()
	return ref, r.done()
}

func readHistoryHead(r *reader) historyHead {
	if v := r.byte(); r.err == nil && v != historyVersion {
		r.fail(fmt.Sprintf("history has version %d, not %d", v, historyVersion))
	}
	h := historyHead{at: int64(r.uint64())}
	n := r.count(1)
	for range n {
		h.finished = append(h.finished, r.uvarint())
	}
	h.results = r.index(1 << 24)
	return h
}

func decodeHistoryHead(p []byte) (historyHead, error) {
	r := reader{b: p}
	h := readHistoryHead(&r)
	return h, r.err
}

// decodeHistory gives the results of an h/ value whose ids are wanted, in the order they were recorded. The rest is
// not decoded when there are none.
func decodeHistory(p []byte, origin uint32, want func(sidehook.DeliveryID) bool) ([]result, error) {
	r := reader{b: p}
	head := readHistoryHead(&r)
	if r.err != nil || head.results == 0 {
		return nil, r.done()
	}
	body, err := unpack(r.b)
	if err != nil {
		return nil, err
	}
	r = reader{b: body}
	if head.results > len(body)/4 {
		return nil, fmt.Errorf("%w: history counts more results than it has bytes", errCorrupt)
	}
	ids, last := make([]sidehook.DeliveryID, head.results), -1
	prev := sidehook.DeliveryID{Origin: origin}
	for i := range ids {
		prev.Batch += uint64(r.varint())
		prev.Index = uint32(int64(prev.Index) + r.varint())
		if ids[i] = prev; want(prev) {
			last = i
		}
	}
	d := historyDecoder{r: &r, at: head.at}
	var out []result
	for i := 0; i <= last && r.err == nil; i++ {
		if res := d.result(ids[i]); want(ids[i]) {
			out = append(out, res)
		}
	}
	if last == len(ids)-1 {
		return out, r.done()
	}
	return out, r.err
}

type historyDecoder struct {
	r     *reader
	at    int64
	dict  []string
	heads []sidehook.Header
}

func (d *historyDecoder) result(id sidehook.DeliveryID) result {
	r := d.r
	flags := r.byte()
	res := result{id: id, place: place(flags & resultPlaceMask), attempts: r.index(1 << 31)}
	if res.place >= places {
		r.fail("bad place")
	}
	if flags&resultFirst != 0 {
		res.firstAt = int64(r.uint64())
	}
	if flags&resultSaved != 0 {
		copy(res.saved[:], r.take(len(res.saved)))
	}
	if flags&resultAttempt != 0 && r.err == nil {
		d.attempt(&res)
		if flags&resultFirst == 0 {
			res.firstAt = nanos(res.attempt.At)
		}
	}
	return res
}

func (d *historyDecoder) attempt(res *result) {
	r := d.r
	flags := r.byte()
	a := &sidehook.Attempt{Number: res.attempts}
	a.Outcome.Kind = sidehook.OutcomeKind(r.byte())
	if flags&attemptNumber != 0 {
		a.Number = int(r.varint())
	}
	a.At = timeOf(d.at + r.varint())
	a.Latency = time.Duration(r.varint())
	a.Status = r.index(1 << 20)
	if flags&attemptRetryAt != 0 {
		a.Outcome.RetryAt = timeOf(d.at + r.varint())
	}
	a.URL = d.text(res)
	if flags&attemptFailed != 0 {
		a.Error = d.text(res)
	}
	if flags&attemptResponse != 0 {
		a.Response = []byte(d.text(res))
	}
	a.RequestHeaders = d.headers(res)
	res.attempt = a
}

func (d *historyDecoder) headers(res *result) []sidehook.Header {
	n := d.r.index(1 << 16)
	bits := d.r.take((n + 7) / 8)
	if d.r.err != nil {
		return nil
	}
	if n == 0 {
		d.heads = nil
		return nil
	}
	hs := make([]sidehook.Header, n)
	for i := range hs {
		if bits[i/8]&(1<<(i%8)) == 0 {
			hs[i].Key = d.text(res)
			hs[i].Value = d.text(res)
			continue
		}
		if i >= len(d.heads) {
			d.r.fail("repeats a header that is not there")
			return nil
		}
		hs[i] = d.heads[i]
	}
	d.heads = hs
	return hs
}

func (d *historyDecoder) text(res *result) string {
	switch ref := d.r.index(len(d.dict) + refFirst); {
	case d.r.err != nil:
		return ""
	case ref == refNew:
		s := d.r.text()
		d.dict = append(d.dict, s)
		return s
	case ref == refDelivery:
		return res.id.String()
	default:
		return d.dict[ref-refFirst]
	}
}

func appendHeaders(b []byte, hs []sidehook.Header) []byte {
	b = binary.AppendUvarint(b, uint64(len(hs)))
	for _, h := range hs {
		b = appendText(b, h.Key)
		b = appendText(b, h.Value)
	}
	return b
}

func readHeaders(r *reader) []sidehook.Header {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	hs := make([]sidehook.Header, n)
	for i := range hs {
		hs[i] = sidehook.Header{Key: r.text(), Value: r.text()}
	}
	return hs
}
