package control

import (
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// A merged list goes from newer to older, deliveries of one time by their sidecar, those of one sidecar as it lists them.
// A mark is where a page ended; the next page asks every sidecar for what stands after it.
type mark struct {
	at      time.Time
	sidecar sidecarKey
	id      sidehook.DeliveryID // the sidecar's own list goes on after it
}

// Cursors are base64url of these fields, in this order.
const (
	cursorSep    = " "
	cursorFields = 4
	maxCursor    = 512
)

func (k *mark) cursor() string {
	text := strings.Join([]string{
		strconv.FormatInt(k.at.UnixNano(), 36), k.sidecar.id, k.sidecar.credential, k.id.String(),
	}, cursorSep)
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

func parseCursor(cursor string) (*mark, error) {
	bad := sidehook.Fieldf("cursor", "is not one that an earlier page gave as next_cursor")
	if len(cursor) > maxCursor {
		return nil, bad
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return nil, bad
	}
	fields := strings.Split(string(text), cursorSep)
	if len(fields) != cursorFields || !sidehook.ValidName(fields[1]) || !sidehook.ValidName(fields[2]) {
		return nil, bad
	}
	nanos, err := strconv.ParseInt(fields[0], 36, 64)
	if err != nil || nanos < 0 || nanos == math.MaxInt64 {
		return nil, bad
	}
	id, err := sidehook.ParseDeliveryID(fields[3])
	if err != nil {
		return nil, bad
	}
	return &mark{at: time.Unix(0, nanos).UTC(), sidecar: sidecarKey{id: fields[1], credential: fields[2]}, id: id}, nil
}

// continueAfter makes q ask a sidecar for what stands after the mark in the merged list: the sidecar of the mark goes on
// with its own list; those that sort before it have shown what they have of that time, those that sort after it have not.
func (k *mark) continueAfter(q *fleetv1.ListDeliveries, sidecar sidecarKey) {
	end := k.at
	switch c := sidecar.compare(k.sidecar); {
	case c == 0:
		q.After = k.id.String()
		return
	case c > 0:
		end = end.Add(1)
	}
	if q.Until == nil || end.Before(q.Until.AsTime()) {
		q.Until = timestamp(end)
	}
}

// placed is a delivery with its place in the merged list.
type placed struct {
	at      time.Time
	sidecar sidecarKey
	n       int // in the sidecar's answer
	Delivery
}

func (a *placed) compare(b *placed) int {
	if c := b.at.Compare(a.at); c != 0 {
		return c
	}
	if c := a.sidecar.compare(b.sidecar); c != 0 {
		return c
	}
	return a.n - b.n
}

// merging makes a page of what the sidecars answer, in whatever order they do; it never holds more than two pages.
type merging struct {
	limit int
	after *mark // nil for the first page

	mu    sync.Mutex
	items []placed // sorted; the first limit of all that came
	more  bool
	// horizon is the last item of an answer that is not all its sidecar has. What sorts after it can stand after
	// items that are not known yet, so the page ends there.
	horizon *placed
}

// add takes a sidecar's answer: more says that it has others after these.
//
// A sidecar lists in the order in which it accepted, so its times fall along the list, unless its clock was set back. Then
// the later ones count as no newer than what stands before them: places only ever go back in time, from page to page too.
func (m *merging) add(sidecar sidecarKey, list []Delivery, more bool) {
	if len(list) == 0 {
		return
	}
	items := make([]placed, len(list))
	ceiling := time.Unix(0, math.MaxInt64)
	if m.after != nil {
		ceiling = m.after.at
	}
	for i, d := range list {
		if d.AcceptedAt.Before(ceiling) {
			ceiling = d.AcceptedAt
		}
		items[i] = placed{at: ceiling, sidecar: sidecar, n: i, Delivery: d}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if last := items[len(items)-1]; more {
		m.more = true
		if m.horizon == nil || last.compare(m.horizon) < 0 {
			m.horizon = &last
		}
	}
	m.items = append(m.items, items...)
	slices.SortFunc(m.items, func(a, b placed) int { return a.compare(&b) })
	if len(m.items) > m.limit {
		clear(m.items[m.limit:])
		m.items, m.more = m.items[:m.limit], true
	}
}

// page is called when all answers are in.
func (m *merging) page() *DeliveryPage {
	page := &DeliveryPage{Deliveries: make([]Delivery, 0, len(m.items))}
	var last *placed
	for i := range m.items {
		item := &m.items[i]
		if m.horizon != nil && item.compare(m.horizon) > 0 {
			break
		}
		page.Deliveries = append(page.Deliveries, item.Delivery)
		last = item
	}
	if m.more && last != nil {
		page.Next = (&mark{at: last.at, sidecar: last.sidecar, id: last.ID}).cursor()
	}
	return page
}

// listLimit checks the limit of a page.
func (p PageRequest) listLimit() (int, error) {
	switch {
	case p.Limit == 0:
		return DefaultPageLimit, nil
	case p.Limit < 1 || p.Limit > MaxPageLimit:
		return 0, sidehook.Fieldf("limit", "must be 1 to %d", MaxPageLimit)
	}
	return p.Limit, nil
}

// checkSpan checks bounds of when events were accepted.
func checkSpan(since, until time.Time) error {
	if err := checkTime("since", since); err != nil {
		return err
	}
	if err := checkTime("until", until); err != nil {
		return err
	}
	if !since.IsZero() && !until.IsZero() && !since.Before(until) {
		return sidehook.Fieldf("until", "must be after since (%s)", since.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

func checkTime(field string, t time.Time) error {
	if !t.IsZero() && (t.Year() < 1970 || t.Year() > 9999) {
		return sidehook.Fieldf(field, "must be in the years 1970 to 9999")
	}
	return nil
}

// errOtherThanAsked: an answer is not what the command wanted.
var errOtherThanAsked = errors.New("answered something else than what it was asked")
