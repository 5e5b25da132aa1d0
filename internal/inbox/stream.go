package inbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// heartbeat keeps proxies and readers from giving up on a quiet stream.
const heartbeat = 20 * time.Second

// watch is one reader of a bin's stream. Arrivals wait in it, at most MaxArrivals, so that a slow reader holds up
// nobody; beyond that the oldest are lost to it, as they are to the bin.
type watch struct {
	wake chan struct{} // holds a token while there is something to look at

	mu sync.Mutex
	news
}

// news is what a watch has to tell, in the order of its fields.
type news struct {
	cleared bool // the arrivals before pending are gone
	changed bool // the settings are others
	pending []*Arrival
	gone    bool // the bin is
	ended   bool // no more will come
}

func (w *watch) push(a *Arrival) {
	w.mu.Lock()
	if len(w.pending) == MaxArrivals {
		w.pending = w.pending[1:]
	}
	w.pending = append(w.pending, a)
	w.mu.Unlock()
	w.signal()
}

// tell changes what there is to tell.
func (w *watch) tell(change func(*news)) {
	w.mu.Lock()
	change(&w.news)
	w.mu.Unlock()
	w.signal()
}

func (w *watch) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) take() news {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.news
	w.news = news{ended: n.ended}
	return n
}

// tell changes what the watches of a bin have to tell. Inbox.mu is held.
func (bn *bin) tell(change func(*news)) {
	for w := range bn.watches {
		w.tell(change)
	}
}

// endWatches ends the streams of a bin. Inbox.mu is held.
func (bn *bin) endWatches(gone bool) {
	bn.tell(func(n *news) { n.gone, n.ended = n.gone || gone, true })
}

// watch begins to watch a bin, which it makes where needed; arrivals after the id `after` that are still kept come
// first. nil: there are too many watchers, or the inbox is closed.
func (b *Inbox) watch(name string, after uint64) (w *watch, stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers >= maxWatchers || b.closed() {
		return nil, nil
	}
	b.watchers++
	bn := b.ensure(name)
	w = &watch{wake: make(chan struct{}, 1)}
	for _, a := range bn.arrivals {
		if a.ID > after {
			w.push(a)
		}
	}
	bn.watches[w] = true
	return w, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.watchers--
		delete(bn.watches, w)
	}
}

// stream sends server-sent events: "arrival" with its id and the arrival as JSON; "cleared", "changed" and "gone" with
// an empty object when the bin was emptied, got other settings, or was deleted, which ends the stream. With Last-Event-ID, or
// ?after=ID, those after that one which are still kept come first (?after=0: all that are kept); without, only new ones.
func (b *Inbox) stream(rw http.ResponseWriter, r *http.Request) {
	name := r.PathValue("bin")
	if !validBin(rw, name) {
		return
	}
	after, err := streamStart(r)
	if err != nil {
		writeError(rw, http.StatusBadRequest, "after", "must be the id of an arrival, or 0 for all that are kept")
		return
	}
	w, stop := b.watch(name, after)
	if w == nil {
		rw.Header().Set("Retry-After", "5")
		writeError(rw, http.StatusServiceUnavailable, "", "there are too many readers, or the inbox is stopping")
		return
	}
	defer stop()
	h := rw.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	sendEvents(rw, r, w)
}

const onlyNew = ^uint64(0)

func streamStart(r *http.Request) (after uint64, err error) {
	from := r.Header.Get("Last-Event-ID")
	if from == "" {
		from = r.URL.Query().Get("after")
	}
	if from == "" {
		return onlyNew, nil
	}
	return strconv.ParseUint(from, 10, 64)
}

// sendEvents writes until the reader goes or the watch ends.
func sendEvents(rw http.ResponseWriter, r *http.Request, w *watch) {
	out := http.NewResponseController(rw)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	// The opening comment tells a program that arrivals from here on will be seen.
	text := ": watching\n\n"
	for {
		// A reader that takes nothing for this long has gone.
		if err := out.SetWriteDeadline(time.Now().Add(2 * heartbeat)); err != nil {
			return
		}
		if _, err := rw.Write([]byte(text)); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			text = ": still here\n\n"
			continue
		case <-w.wake:
		}
		var ended bool
		if text, ended = eventsOf(w.take()); ended {
			_, _ = rw.Write([]byte(text))
			return
		}
	}
}

// eventsOf writes news as server-sent events.
func eventsOf(n news) (text string, ended bool) {
	var out strings.Builder
	bare := func(name string, is bool) {
		if is {
			fmt.Fprintf(&out, "event: %s\ndata: {}\n\n", name)
		}
	}
	bare("cleared", n.cleared)
	bare("changed", n.changed)
	for _, a := range n.pending {
		data, err := json.Marshal(a)
		if err != nil {
			return out.String(), true // cannot be: an Arrival is text and numbers
		}
		fmt.Fprintf(&out, "event: arrival\nid: %d\ndata: %s\n\n", a.ID, data)
	}
	bare("gone", n.gone)
	return out.String(), n.ended
}
