package inbox

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
)

// binInfo describes a bin without its arrivals. Secrets are counted, not told.
type binInfo struct {
	Name    string `json:"name"`
	Total   uint64 `json:"total"`
	Kept    int    `json:"kept"`
	Secrets int    `json:"secrets"`
	// FailsLeft is how many more arrivals will be failed on purpose; -1 for all.
	FailsLeft int       `json:"fails_left"`
	Status    int       `json:"status"`
	Delay     string    `json:"delay"`
	LastAt    time.Time `json:"last_at,omitzero"`
}

// binAnswer is GET /bins/{bin}.
type binAnswer struct {
	binInfo
	Arrivals []*Arrival `json:"arrivals"` // newest first
}

// info describes a bin. Inbox.mu is held.
func (bn *bin) info() binInfo {
	i := binInfo{
		Name: bn.name, Total: bn.total, Kept: len(bn.arrivals), Secrets: len(bn.settings.Secrets),
		Status: bn.settings.Status, Delay: bn.settings.Delay, FailsLeft: -1,
	}
	if bn.settings.FailFirst >= 0 {
		i.FailsLeft = max(0, bn.settings.FailFirst-bn.failed)
	}
	if n := len(bn.arrivals); n > 0 {
		i.LastAt = bn.arrivals[n-1].At
	}
	return i
}

// snapshot describes a bin with its arrivals, newest first; ok is false when there is no such bin.
func (b *Inbox) snapshot(name string) (answer binAnswer, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bn := b.bins[name]
	if bn == nil {
		return answer, false
	}
	answer = binAnswer{binInfo: bn.info(), Arrivals: slices.Clone(bn.arrivals)}
	slices.Reverse(answer.Arrivals)
	return answer, true
}

// all describes the bins by name.
func (b *Inbox) all() []binInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	infos := make([]binInfo, 0, len(b.bins))
	for _, name := range slices.Sorted(maps.Keys(b.bins)) {
		infos = append(infos, b.bins[name].info())
	}
	return infos
}

func (b *Inbox) listBins(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"bins": b.all()})
}

func (b *Inbox) listArrivals(w http.ResponseWriter, r *http.Request) {
	answer, ok := b.snapshot(r.PathValue("bin"))
	if !ok {
		noSuchBin(w)
		return
	}
	if answer.Arrivals == nil {
		answer.Arrivals = []*Arrival{}
	}
	writeJSON(w, http.StatusOK, answer)
}

func (b *Inbox) putSettings(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("bin")
	if !validBin(w, name) {
		return
	}
	settings, err := readSettings(http.MaxBytesReader(w, r.Body, maxSettings))
	if err != nil {
		var field *sidehook.FieldError
		if errors.As(err, &field) {
			writeError(w, http.StatusBadRequest, field.Field, field.Reason)
			return
		}
		writeError(w, http.StatusBadRequest, "", err.Error())
		return
	}
	b.mu.Lock()
	bn := b.ensure(name)
	bn.settings, bn.failed = settings, 0
	info := bn.info()
	b.mu.Unlock()
	writeJSON(w, http.StatusOK, info)
}

func readSettings(r io.Reader) (Settings, error) {
	var s Settings
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, sidehook.Fieldf("", "the body must be a JSON object with secrets, fail_first, status, delay, retry_after: %v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return s, sidehook.Fieldf("", "the body must be one JSON object")
	}
	return s, s.validate()
}

func (b *Inbox) deleteBin(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	bn := b.bins[r.PathValue("bin")]
	if bn != nil {
		b.forget(bn)
	}
	b.mu.Unlock()
	if bn == nil {
		noSuchBin(w)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// validBin answers 400 and returns false when name cannot be a bin.
func validBin(w http.ResponseWriter, name string) bool {
	if sidehook.ValidName(name) {
		return true
	}
	writeError(w, http.StatusBadRequest, "bin", "must be 1 to 64 of A-Z a-z 0-9 _ -")
	return false
}

func noSuchBin(w http.ResponseWriter) {
	writeError(w, http.StatusNotFound, "bin", "does not exist; it comes to be when something arrives at /in/{bin}")
}

// writeError answers a problem (RFC 9457) that names the field.
func writeError(w http.ResponseWriter, status int, field, detail string) {
	p := map[string]any{"title": http.StatusText(status), "status": status, "detail": strings.TrimSpace(field + " " + detail)}
	if field != "" {
		p["errors"] = []map[string]string{{"field": field, "detail": detail}}
	}
	writeBody(w, status, "application/problem+json", p)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	writeBody(w, status, "application/json", v)
}

// writeBody answers v. A failure to write means that the client has gone.
func writeBody(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
