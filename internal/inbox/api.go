package inbox

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
)

// binInfo describes a bin without its arrivals. Secrets are counted, not told.
type binInfo struct {
	Name    string `json:"name"`
	Title   string `json:"title"` // the name where the settings have none
	Total   uint64 `json:"total"`
	Kept    int    `json:"kept"`
	Secrets int    `json:"secrets"`
	// FailsLeft is how many more arrivals will be failed on purpose; -1 for all.
	FailsLeft   int       `json:"fails_left"`
	FailFirst   int       `json:"fail_first"`
	FailStatus  int       `json:"fail_status"`
	Status      int       `json:"status"`
	Delay       string    `json:"delay"`
	RetryAfter  string    `json:"retry_after"`
	Body        string    `json:"body"`
	ContentType string    `json:"content_type"`
	Signing     Signing   `json:"signing"`
	LastAt      time.Time `json:"last_at,omitzero"`
}

// binAnswer is GET /bins/{bin}.
type binAnswer struct {
	binInfo
	Arrivals []*Arrival `json:"arrivals"` // newest first
}

// info describes a bin. Inbox.mu is held.
func (bn *bin) info() binInfo {
	s := &bn.settings
	i := binInfo{
		Name: bn.name, Title: s.Title, Total: bn.total, Kept: len(bn.arrivals), Secrets: len(s.Secrets), FailsLeft: -1,
		FailFirst: s.FailFirst, FailStatus: s.FailStatus, Status: s.Status, Delay: s.Delay, RetryAfter: s.RetryAfter,
		Body: s.Body, ContentType: s.ContentType, Signing: s.Signing,
	}
	if i.Title == "" {
		i.Title = bn.name
	}
	if s.FailFirst >= 0 {
		i.FailsLeft = max(0, s.FailFirst-bn.failed)
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

// createBin makes a bin that is not there yet, under a name of its own where none is given.
func (b *Inbox) createBin(w http.ResponseWriter, r *http.Request) {
	given := struct {
		Name string `json:"name"`
		Settings
	}{Settings: defaults()}
	if !readBody(w, r, &given) || !validated(w, &given.Settings) {
		return
	}
	if given.Name == "" {
		given.Name = newName()
	}
	if !validBin(w, given.Name) {
		return
	}
	b.mu.Lock()
	taken := b.bins[given.Name] != nil
	var info binInfo
	if !taken {
		bn := b.ensure(given.Name)
		bn.settings = given.Settings
		info = bn.info()
	}
	b.mu.Unlock()
	if taken {
		writeError(w, http.StatusConflict, "name", "is taken by another bin")
		return
	}
	w.Header().Set("Location", "/bins/"+info.Name)
	writeJSON(w, http.StatusCreated, struct {
		binInfo
		URL string `json:"url"`
	}{info, "http://" + r.Host + "/in/" + info.Name})
}

// newName makes a name that nobody has yet.
func newName() string {
	return "bin-" + strings.ToLower(rand.Text()[:8]) // base32
}

func (b *Inbox) putSettings(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("bin")
	settings := defaults()
	if !validBin(w, name) || !readBody(w, r, &settings) || !validated(w, &settings) {
		return
	}
	writeJSON(w, http.StatusOK, b.put(name, settings))
}

// patchSettings changes what is given. Failures are counted anew when fail_first is.
func (b *Inbox) patchSettings(w http.ResponseWriter, r *http.Request) {
	var patch json.RawMessage
	if !readBody(w, r, &patch) {
		return
	}
	b.mu.Lock()
	bn := b.bins[r.PathValue("bin")]
	if bn == nil {
		b.mu.Unlock()
		noSuchBin(w)
		return
	}
	settings := bn.settings.clone()
	err := decodeStrict(bytes.NewReader(patch), &settings)
	if err == nil {
		err = settings.validate()
	}
	if err != nil {
		b.mu.Unlock()
		refuse(w, err)
		return
	}
	var counted struct {
		FailFirst *int `json:"fail_first"`
	}
	if json.Unmarshal(patch, &counted) == nil && counted.FailFirst != nil {
		bn.failed = 0
	}
	bn.settings = settings
	bn.touched = b.now()
	bn.tell(func(n *news) { n.changed = true })
	info := bn.info()
	b.mu.Unlock()
	writeJSON(w, http.StatusOK, info)
}

// readBody reads a JSON object; false: it was refused, and the answer is written.
func readBody(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := decodeStrict(http.MaxBytesReader(w, r.Body, maxSettings), into); err != nil {
		refuse(w, err)
		return false
	}
	return true
}

func validated(w http.ResponseWriter, s *Settings) bool {
	if err := s.validate(); err != nil {
		refuse(w, err)
		return false
	}
	return true
}

func refuse(w http.ResponseWriter, err error) {
	var field *sidehook.FieldError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &field):
		writeError(w, http.StatusBadRequest, field.Field, field.Reason)
	case errors.As(err, &tooLarge):
		writeError(w, http.StatusRequestEntityTooLarge, "", fmt.Sprintf("settings must be at most %d bytes", tooLarge.Limit))
	default:
		writeError(w, http.StatusBadRequest, "", err.Error())
	}
}

// decodeStrict reads one JSON object. It returns a *sidehook.FieldError, or a *http.MaxBytesError of its reader.
func decodeStrict(r io.Reader, into any) error {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return plainly(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return sidehook.Fieldf("", "the body must be one JSON object")
	}
	return nil
}

// plainly says what encoding/json found wrong without the words of Go.
func plainly(err error) error {
	var tooLarge *http.MaxBytesError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &tooLarge):
		return tooLarge
	case errors.As(err, &kind) && kind.Field == "":
		return sidehook.Fieldf("", "the body must be a JSON object of a bin's settings, not a JSON %s", kind.Value)
	case errors.As(err, &kind):
		// POST embeds Settings, which encoding/json puts into the path.
		return sidehook.Fieldf(strings.TrimPrefix(kind.Field, "Settings."), "must be %s", kindNames[kind.Type.Kind()])
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return sidehook.Fieldf(strings.Trim(name, `"`), "is not a setting of a bin")
	}
	return sidehook.Fieldf("", "the body must be a JSON object of a bin's settings: %v", err)
}

// kindNames are the kinds that settings have, as JSON calls them.
var kindNames = map[reflect.Kind]string{
	reflect.String: "a string", reflect.Int: "a whole number", reflect.Slice: "an array of strings", reflect.Struct: "an object",
}

// clearBin forgets the arrivals of a bin; its settings stay.
func (b *Inbox) clearBin(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	bn := b.bins[r.PathValue("bin")]
	if bn != nil {
		b.empty(bn)
		bn.total = 0
		bn.tell(func(n *news) { n.pending, n.cleared = nil, true })
	}
	b.mu.Unlock()
	if bn == nil {
		noSuchBin(w)
		return
	}
	w.WriteHeader(http.StatusNoContent)
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
	writeError(w, http.StatusBadRequest, "name", binNameRule)
	return false
}

const binNameRule = "must be 1 to 64 of A-Z a-z 0-9 _ -"

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
