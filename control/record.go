package control

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"maps"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/xds"
)

// The keys of the store. Ids have no slash in them, so each key reads back in one way.
//
//	apps/{app}                    appRecord
//	counts/{app}                  countRecord: changed with every webhook that is added or removed
//	names/{app}/{base64url name}  nameRecord: makes names unique
//	webhooks/{app}/{id}           webhookRecord
//	secrets/{app}/{webhook}/{id}  secretRecord
//	notes/{app}/{webhook}/{dialect}  JSON of the dialect: see Note
//	failing/{app}/{webhook}       failingRecord: while it does nothing but fail
//	event-types/{app}/{base64url type}  eventTypeRecord
//	event-type-counts/{app}       eventTypesRecord: changed with every event type that is added or removed
//	tokens/{hash}                 tokenRecord, by the SHA-256 of the token
//	token-ids/{id}                tokenIDRecord
//	ended-access/{end}/{hash}     endedRecord: an access token that was ended before its time
const (
	appsPrefix       = "apps/"
	webhooksPrefix   = "webhooks/"
	secretsPrefix    = "secrets/"
	eventTypesPrefix = "event-types/"
	tokensPrefix     = "tokens/"
)

func appKey(app string) string             { return appsPrefix + app }
func countKey(app string) string           { return "counts/" + app }
func webhookPrefix(app string) string      { return webhooksPrefix + app + "/" }
func secretPrefix(app, id string) string   { return secretsPrefix + app + "/" + id + "/" }
func tokenKey(hash string) string          { return tokensPrefix + hash }
func tokenIDKey(id string) string          { return "token-ids/" + id }
func secretKey(app, id, sec string) string { return secretPrefix(app, id) + sec }

func webhookKey(k sidehook.WebhookKey) string { return webhookPrefix(k.App) + k.ID }

func notePrefix(k sidehook.WebhookKey) string { return "notes/" + k.App + "/" + k.ID + "/" }

func noteKey(k sidehook.WebhookKey, dialect string) string { return notePrefix(k) + dialect }

func nameKey(app, name string) string {
	return "names/" + app + "/" + base64.RawURLEncoding.EncodeToString([]byte(name))
}

func eventTypePrefix(app string) string   { return eventTypesPrefix + app + "/" }
func eventTypeCountKey(app string) string { return "event-type-counts/" + app }

// eventTypeKey hides the type, which can contain slashes.
func eventTypeKey(app, typ string) string {
	return eventTypePrefix(app) + base64.RawURLEncoding.EncodeToString([]byte(typ))
}

// typeOfKey is the type in the last segment of an eventTypeKey, empty when it is none.
func typeOfKey(segment string) string {
	typ, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil || !sidehook.ValidEventType(string(typ)) {
		return ""
	}
	return string(typ)
}

// place is what a key says about its record: its kind (the first segment) and the ids after it.
type place struct {
	kind string
	ids  []string
}

func placeOf(key string) place {
	parts := strings.Split(key, "/")
	return place{kind: parts[0] + "/", ids: parts[1:]}
}

type appRecord struct {
	DisplayName string    `json:"display_name,omitempty"`
	HTTPSOnly   bool      `json:"https_only,omitempty"`
	Publish     string    `json:"publish,omitempty"` // empty: lenient
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

func (r *appRecord) app(id string) *App {
	return &App{
		ID: id, DisplayName: r.DisplayName, HTTPSOnly: r.HTTPSOnly, Publish: r.publish(), CreatedAt: r.CreatedAt,
		UpdatedAt: r.UpdatedAt,
	}
}

func (r *appRecord) publish() sidehook.PublishMode {
	return cmp.Or(sidehook.PublishMode(r.Publish), sidehook.PublishLenient)
}

type countRecord struct {
	Webhooks int `json:"webhooks"`
}

type nameRecord struct {
	Webhook string `json:"webhook"`
}

type headerRecord struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type webhookRecord struct {
	Name           string          `json:"name"`
	URL            string          `json:"url"`
	Headers        []headerRecord  `json:"headers,omitempty"`
	Events         []string        `json:"events"`
	AutomaticRetry bool            `json:"automatic_retry"`
	Format         string          `json:"format"`
	Signing        *signingRecord  `json:"signing,omitempty"` // absent: as the format says
	Transformer    string          `json:"transformer,omitempty"`
	Status         string          `json:"status"`
	DisabledReason string          `json:"disabled_reason,omitempty"`
	RetrySchedule  []time.Duration `json:"retry_schedule,omitempty"` // nanoseconds
	Timeout        time.Duration   `json:"timeout"`                  // nanoseconds
	DisabledCause  string          `json:"disabled_cause,omitempty"`
	DisabledAt     time.Time       `json:"disabled_at,omitzero"`
	Ordering       string          `json:"ordering,omitempty"` // absent: none
	RateLimit      *rateRecord     `json:"rate_limit,omitempty"`
	Filter         string          `json:"filter,omitempty"`
	HistorySample  *float64        `json:"history_sample,omitempty"` // absent: 1
	CreatedAt      time.Time       `json:"created_at"`
	UpdatedAt      time.Time       `json:"updated_at"`
}

func recordOfWebhook(w *sidehook.Webhook) *webhookRecord {
	r := &webhookRecord{
		Name: w.Name, URL: w.URL, Events: w.Events, AutomaticRetry: w.AutomaticRetry, Format: w.Format,
		Transformer: w.Transformer, Status: string(w.Status), DisabledReason: w.DisabledReason,
		RetrySchedule: w.RetrySchedule, Timeout: w.Timeout, CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt,
	}
	shapingToRecord(r, w)
	for _, h := range w.Headers {
		r.Headers = append(r.Headers, headerRecord(h))
	}
	if w.Signing != (sidehook.Signing{}) {
		signing := signingRecord(w.Signing)
		r.Signing = &signing
	}
	return r
}

func (r *webhookRecord) webhook(k sidehook.WebhookKey) *sidehook.Webhook {
	w := &sidehook.Webhook{
		App: k.App, ID: k.ID, Name: r.Name, URL: r.URL, Events: r.Events, AutomaticRetry: r.AutomaticRetry,
		Format: r.Format, Transformer: r.Transformer, Status: sidehook.WebhookStatus(r.Status),
		DisabledReason: r.DisabledReason, RetrySchedule: r.RetrySchedule, Timeout: r.Timeout,
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	shapingOfRecord(w, r)
	for _, h := range r.Headers {
		w.Headers = append(w.Headers, sidehook.Header(h))
	}
	if r.Signing != nil {
		w.Signing = sidehook.Signing(*r.Signing)
	}
	return w
}

type signingRecord struct {
	Scheme          string `json:"scheme,omitempty"`
	Algorithm       string `json:"algorithm,omitempty"`
	Encoding        string `json:"encoding,omitempty"`
	Header          string `json:"header,omitempty"`
	Prefix          string `json:"prefix,omitempty"`
	Template        string `json:"template,omitempty"`
	TimestampHeader string `json:"timestamp_header,omitempty"`
}

type secretRecord struct {
	Key       []byte     `json:"key"`
	Kind      string     `json:"kind,omitempty"` // empty: symmetric
	CreatedAt time.Time  `json:"created_at"`
	NotAfter  *time.Time `json:"not_after,omitempty"`
}

// secret has no NotBefore: a new secret signs at once, also on a sidecar whose clock is behind.
func (r *secretRecord) secret(app, webhook, id string) (*sidehook.Secret, error) {
	key, err := r.key()
	if err != nil {
		return nil, err
	}
	s := &sidehook.Secret{App: app, Webhook: webhook, ID: id, Key: key}
	if r.NotAfter != nil {
		s.NotAfter = *r.NotAfter
	}
	return s, s.Validate()
}

func (r *secretRecord) key() (sidehook.Key, error) {
	return sidehook.KeyOf(sidehook.KeyKind(r.Kind), r.Key)
}

func recordOfKey(k sidehook.Key, at time.Time) *secretRecord {
	r := &secretRecord{Key: k.Bytes(), CreatedAt: at}
	if k.Kind() != sidehook.KeySymmetric {
		r.Kind = string(k.Kind())
	}
	return r
}

// live reports whether the secret still signs at t.
func (r *secretRecord) live(t time.Time) bool { return r.NotAfter == nil || t.Before(*r.NotAfter) }

type eventTypesRecord struct {
	EventTypes int `json:"event_types"`
}

type eventTypeRecord struct {
	Product     string            `json:"product,omitempty"`
	Name        map[string]string `json:"name,omitempty"`
	Description map[string]string `json:"description,omitempty"`
	// Sample is stored as base64, so that its size is bounded whatever it contains.
	Sample []byte `json:"sample,omitempty"`
	// Schema likewise.
	Schema []byte `json:"schema,omitempty"`
}

func recordOfEventType(t *sidehook.EventType) *eventTypeRecord {
	return &eventTypeRecord{Product: t.Product, Name: t.Name, Description: t.Description, Sample: t.Sample, Schema: t.Schema}
}

func (r *eventTypeRecord) equal(o *eventTypeRecord) bool {
	return r.Product == o.Product && maps.Equal(r.Name, o.Name) &&
		maps.Equal(r.Description, o.Description) && bytes.Equal(r.Sample, o.Sample) && bytes.Equal(r.Schema, o.Schema)
}

// eventTypeOf reads a stored entry; its key says which it is.
func eventTypeOf(p storage.Pair) (*sidehook.EventType, error) {
	var r eventTypeRecord
	if err := decode(p, &r); err != nil {
		return nil, err
	}
	ids := placeOf(p.Key).ids
	return &sidehook.EventType{
		App: ids[0], Type: typeOfKey(ids[1]), Product: r.Product, Name: r.Name, Description: r.Description,
		Sample: r.Sample, Schema: r.Schema,
	}, nil
}

type tokenRecord struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Kind      TokenKind `json:"kind"`
	Apps      []string  `json:"apps,omitempty"`
	CreatedAt time.Time `json:"created_at"`
}

type tokenIDRecord struct {
	Hash string `json:"hash"`
}

func (r *appRecord) policy(id string) *xds.AppPolicy {
	return &xds.AppPolicy{App: id, DisplayName: r.DisplayName, HTTPSOnly: r.HTTPSOnly, Publish: r.publish()}
}
