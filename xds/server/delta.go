package server

import (
	"container/heap"
	"errors"
	"maps"
	"strconv"
	"strings"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/sidehook/sidehook/xds"
)

// maxResponse bounds a delta response in bytes, roughly: more is cut into pieces, each sent when the one before was
// acknowledged. It leaves room for one more resource below gRPC's default limit of 4 MiB.
const maxResponse = 1 << 20

// errBehind ends a stream that slept through removals that are forgotten; its client starts over.
var errBehind = errors.New("too far behind: connect again")

// What the server library keeps for a subscription, and hands back with each request, is a map of names to versions.
// For a wildcard subscription we keep two things in it. Until the initial synchronization is through: the versions
// that the client offered and that were not looked at yet. And from the first response on, under cursorKey, which no
// resource can have for a name, how far it got. So a stream that is up to date costs one small map.
const cursorKey = ""

// cursor is how far a wildcard subscription got.
type cursor struct {
	seq  uint64 // everything up to here was sent, or was known already
	base uint64 // removals up to here were settled when the synchronization began
}

func (c cursor) String() string {
	return strconv.FormatUint(c.seq, 10) + "/" + strconv.FormatUint(c.base, 10)
}

func cursorOf(known map[string]string) (c cursor, ok bool) {
	text, ok := known[cursorKey]
	if !ok {
		return cursor{}, false
	}
	seq, base, _ := strings.Cut(text, "/")
	var err1, err2 error
	c.seq, err1 = strconv.ParseUint(seq, 10, 64)
	c.base, err2 = strconv.ParseUint(base, 10, 64)
	return c, err1 == nil && err2 == nil
}

// update is what a subscription has to be told.
type update struct {
	resources []*discovery.Resource
	removed   []string
	next      map[string]string // for the subscription once this is sent
	more      bool              // there is more to tell
	seq       uint64            // of the store, for people
}

func (u *update) empty() bool { return len(u.resources) == 0 && len(u.removed) == 0 && !u.more }

// wildcard works out what is new to a subscription to everything of a type. The caller holds mu for reading, and known
// is its own to change: an entry of known that was looked at is taken out.
func (s *store) wildcard(apps []string, typeURL string, known map[string]string) (*update, error) {
	u := &update{seq: s.seq}
	size := 0
	cur, begun := cursorOf(known)
	if !begun {
		delete(known, cursorKey)
	}
	if full := s.settle(u, &size, apps, typeURL, known, cur, begun); full {
		u.next, u.more = known, true
		return u, nil
	}
	if !begun {
		cur.base = s.seq
	}
	logs, err := s.logs(apps, typeURL, cur, begun)
	if err != nil {
		return nil, err
	}
	for len(logs) > 0 {
		if size > s.limit {
			known[cursorKey] = cur.String()
			u.next, u.more = known, true
			return u, nil
		}
		e, current := logs.next()
		cur.seq = e.seq
		version, offered := known[e.name]
		delete(known, e.name)
		switch {
		case !current:
			if offered { // its current entry is further on in the log
				known[e.name] = version
			}
			continue
		case e.res != nil && (!offered || version != e.res.GetVersion()):
			u.resources = append(u.resources, e.res)
		case e.res == nil && e.seq > cur.base:
			u.removed = append(u.removed, e.name)
		default:
			continue
		}
		size += e.size
	}
	u.next = map[string]string{cursorKey: cursor{seq: s.seq, base: cur.base}.String()}
	return u, nil
}

// settle goes through the versions that the client said it has: before the log is walked (not begun) it tells what is
// gone, and later it sends what the library marked to be sent again (an empty version, after an unsubscription by name).
// It reports whether the update is full, and then wants to be called again.
func (s *store) settle(u *update, size *int, apps []string, typeURL string, known map[string]string, cur cursor,
	begun bool,
) (full bool) {
	for name, version := range known {
		if name == cursorKey || begun && version != "" {
			continue
		}
		if *size > s.limit {
			return true
		}
		r := s.live(apps, typeURL, name)
		switch {
		case r == nil:
			u.removed = append(u.removed, name)
			*size += len(name)
		case begun && s.seqOf(typeURL, name) <= cur.seq:
			u.resources = append(u.resources, r)
			*size += len(r.GetResource().GetValue())
		default: // the log comes to it
			continue
		}
		delete(known, name)
	}
	return false
}

func (s *store) seqOf(typeURL, name string) uint64 {
	app, _ := xds.AppOfName(name)
	return s.apps[app][typeURL].entries[name].seq
}

// named works out what is new to a subscription to some names. It does not change known. A name that does not exist is
// told as removed once.
func (s *store) named(apps []string, typeURL string, known map[string]string, names map[string]struct{}) *update {
	u := &update{seq: s.seq, next: maps.Clone(known)}
	if u.next == nil {
		u.next = make(map[string]string)
	}
	delete(u.next, cursorKey)
	for name := range u.next {
		if _, wanted := names[name]; !wanted {
			delete(u.next, name)
		}
	}
	for name := range names {
		version, told := known[name]
		switch r := s.live(apps, typeURL, name); {
		case r == nil && (!told || version != ""):
			u.removed = append(u.removed, name)
			u.next[name] = ""
		case r != nil && version != r.GetVersion():
			u.resources = append(u.resources, r)
			u.next[name] = r.GetVersion()
		}
	}
	return u
}

// logs are the newer parts of the logs of several apps, to be read in the order of their sequence numbers.
type logs []appLog

type appLog struct {
	col  *collection
	rest []*entry
}

func (s *store) logs(apps []string, typeURL string, cur cursor, begun bool) (logs, error) {
	var all logs
	for _, app := range apps {
		col := s.apps[app][typeURL]
		if col == nil {
			continue
		}
		if begun && cur.seq < col.floor {
			return nil, errBehind
		}
		if rest := col.after(cur.seq); len(rest) > 0 {
			all = append(all, appLog{col, rest})
		}
	}
	heap.Init(&all)
	return all, nil
}

// next takes the entry with the lowest sequence number off, and tells whether it is current.
func (l *logs) next() (e *entry, current bool) {
	first := &(*l)[0]
	e = first.rest[0]
	current = first.col.entries[e.name] == e
	if first.rest = first.rest[1:]; len(first.rest) == 0 {
		heap.Pop(l)
	} else {
		heap.Fix(l, 0)
	}
	return e, current
}

func (l logs) Len() int           { return len(l) }
func (l logs) Less(i, j int) bool { return l[i].rest[0].seq < l[j].rest[0].seq }
func (l logs) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *logs) Push(x any)        { *l = append(*l, x.(appLog)) }

func (l *logs) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}
