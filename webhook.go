package sidehook

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// WebhookKey identifies a webhook: ids are unique within their app.
type WebhookKey struct {
	App string
	ID  string
}

func (k WebhookKey) String() string { return k.App + "/" + k.ID }

// Webhook says who wants which events, and how they are delivered.
type Webhook struct {
	App  string
	ID   string
	Name string // for people, unique within App
	URL  string
	// Headers are added to every request.
	Headers []Header
	// Events are patterns of event types; see match.MatchPattern in outbound/match.
	Events []string
	// AutomaticRetry: false means one attempt.
	AutomaticRetry bool
	// Format names how a delivery becomes an HTTP request; "standard" by default.
	Format string
	// Signing says how requests are signed; the zero value for what Format has.
	Signing Signing
	// Transformer names a transformer of the sidecar; empty for none.
	Transformer string
	Status      WebhookStatus
	// DisabledReason says why Status is disabled, for people.
	DisabledReason string
	// DisabledCause says who or what disabled it.
	DisabledCause DisabledCause
	// DisabledAt is since when; zero when it is not known, or enabled.
	DisabledAt time.Time
	// Ordering: OrderingNone by default.
	Ordering Ordering
	// RateLimit: none by default.
	RateLimit RateLimit
	// Filter is a CEL expression that an event must meet besides Events; empty for none. See xds/filter.
	Filter string
	// HistorySample is the share, 0 to 1, of successful deliveries whose attempt is kept in the history; nil for all.
	// Attempts that fail are always kept. See Sample.
	HistorySample *float64
	// RetrySchedule holds the waits before the second, third, … attempt; nil for the default schedule.
	RetrySchedule []time.Duration
	// Timeout bounds one attempt from dialling to the end of the response.
	Timeout   time.Duration
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Key returns the webhook's key.
func (w *Webhook) Key() WebhookKey { return WebhookKey{App: w.App, ID: w.ID} }

// Header is an HTTP header that a webhook adds to its requests.
type Header struct {
	Key   string
	Value string
}

// WebhookStatus says whether a webhook gets new deliveries.
type WebhookStatus string

// The statuses of a webhook.
const (
	WebhookEnabled  WebhookStatus = "enabled"
	WebhookDisabled WebhookStatus = "disabled"
)

// Formats that are built in.
const (
	FormatStandard          = "standard"           // Standard Webhooks envelope {type, timestamp, data}
	FormatCloudEvents       = "cloudevents"        // CloudEvents 1.0 structured JSON
	FormatCloudEventsBinary = "cloudevents-binary" // CloudEvents 1.0 binary mode: ce-* headers and raw data
	FormatSigma             = "sigma"              // Sigma: {event, data, date}
	FormatMultisite         = "multisite"          // Ultimate Multisite: the data itself, the event's name in a header
	FormatAPIServer         = "apiserver"          // Sigma's livestream API server: event, eventTime and the data's fields
	FormatTwenty            = "twenty"             // Twenty: {event, data, timestamp}, signed its own way
	FormatOMICall           = "omicall"            // OMICall: the data itself, a flat call record
)

// Formats lists the formats that are built in.
func Formats() []string {
	return []string{
		FormatStandard, FormatCloudEvents, FormatCloudEventsBinary, FormatSigma, FormatMultisite, FormatAPIServer, FormatTwenty,
		FormatOMICall,
	}
}

// Limits of a Webhook.
const (
	MaxWebhookName     = 50 // characters
	MaxURLLen          = 2048
	MaxHeaders         = 10
	MaxHeaderKeyLen    = 128
	MaxHeaderValueLen  = 4096
	MaxPatterns        = 100
	MaxPatternLen      = 256
	MaxRetries         = 20
	MinRetryWait       = time.Second
	MaxRetryWait       = 7 * 24 * time.Hour
	DefaultTimeout     = 15 * time.Second
	MinTimeout         = 100 * time.Millisecond
	MaxTimeout         = 60 * time.Second
	DefaultMaxWebhooks = 10 // per app
)

// Normalize fills the defaults of a webhook.
func (w *Webhook) Normalize() {
	if w.Format == "" {
		w.Format = FormatStandard
	}
	if w.Status == "" {
		w.Status = WebhookEnabled
	}
	if w.Timeout == 0 {
		w.Timeout = DefaultTimeout
	}
	if w.Ordering == "" {
		w.Ordering = OrderingNone
	}
	w.RateLimit.normalize()
	if w.HistorySample != nil && *w.HistorySample == 1 {
		w.HistorySample = nil
	}
	w.Signing.normalize()
}

// Validate checks a normalized webhook and returns a *FieldError for the first field that is wrong. It does not know
// which transformers are installed.
func (w *Webhook) Validate() error {
	switch {
	case !ValidName(w.App):
		return Fieldf("app", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxNameLen)
	case !ValidName(w.ID):
		return Fieldf("id", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxNameLen)
	case strings.TrimSpace(w.Name) == "":
		return Fieldf("name", "is required")
	case utf8.RuneCountInString(w.Name) > MaxWebhookName:
		return Fieldf("name", "must be at most %d characters", MaxWebhookName)
	case !isText(w.Name):
		return Fieldf("name", "must be UTF-8 without control characters")
	case !slices.Contains(Formats(), w.Format):
		return Fieldf("format", "must be one of %s", strings.Join(Formats(), ", "))
	case w.Transformer != "" && !ValidName(w.Transformer):
		return Fieldf("transformer", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxNameLen)
	case w.Status != WebhookEnabled && w.Status != WebhookDisabled:
		return Fieldf("status", "must be %s or %s", WebhookEnabled, WebhookDisabled)
	case w.Timeout < MinTimeout || w.Timeout > MaxTimeout:
		return Fieldf("timeout", "must be %s to %s", MinTimeout, MaxTimeout)
	}
	if err := ValidateURL(w.URL); err != nil {
		return Under("url", err)
	}
	if err := w.validateEvents(); err != nil {
		return err
	}
	if err := w.Signing.validate(); err != nil {
		return Under("signing", err)
	}
	if err := w.validateHeaders(); err != nil {
		return err
	}
	if err := w.validateRetrySchedule(); err != nil {
		return err
	}
	return w.validateShaping()
}

func (w *Webhook) validateEvents() error {
	if len(w.Events) == 0 {
		return Fieldf("events", "at least one event is required; * for all")
	}
	if len(w.Events) > MaxPatterns {
		return Fieldf("events", "must be at most %d", MaxPatterns)
	}
	for i, p := range w.Events {
		if err := ValidatePattern(p); err != nil {
			return Under(indexed("events", i), err)
		}
	}
	return nil
}

func (w *Webhook) validateHeaders() error {
	if len(w.Headers) > MaxHeaders {
		return Fieldf("headers", "must be at most %d", MaxHeaders)
	}
	seen := make(map[string]bool, len(w.Headers))
	for i, h := range w.Headers {
		if err := ValidateHeader(h); err != nil {
			return Under(indexed("headers", i), err)
		}
		key := strings.ToLower(h.Key)
		if seen[key] {
			return Fieldf(indexed("headers", i)+".key", "%s is given twice", h.Key)
		}
		seen[key] = true
		if err := w.checkFree(h.Key); err != nil {
			return Under(indexed("headers", i), err)
		}
	}
	return nil
}

// checkFree refuses a header that the webhook's format or signing scheme sets.
func (w *Webhook) checkFree(key string) error {
	for _, taken := range w.signingHeaders() {
		if strings.EqualFold(key, taken) {
			return Fieldf("key", "%s is set by the signing scheme %s and cannot be changed", key, w.Scheme())
		}
	}
	if w.Format == FormatCloudEventsBinary && strings.HasPrefix(strings.ToLower(key), "ce-") {
		return Fieldf("key", "%s is set by the format %s and cannot be changed", key, w.Format)
	}
	return nil
}

func (w *Webhook) validateRetrySchedule() error {
	if len(w.RetrySchedule) > MaxRetries {
		return Fieldf("retry_policy.schedule", "must be at most %d waits", MaxRetries)
	}
	for i, d := range w.RetrySchedule {
		if d < MinRetryWait || d > MaxRetryWait {
			return Fieldf(indexed("retry_policy.schedule", i), "must be %s to %s", MinRetryWait, MaxRetryWait)
		}
	}
	return nil
}

// ValidateURL checks that s is a URL that a webhook can have: http or https, a host, no userinfo, no fragment.
func ValidateURL(s string) error {
	if s == "" {
		return Fieldf("", "is required")
	}
	if len(s) > MaxURLLen {
		return Fieldf("", "must be at most %d bytes", MaxURLLen)
	}
	if !isVisibleASCII(s) {
		return Fieldf("", "must be visible ASCII without spaces; percent-encode anything else")
	}
	if !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
		return Fieldf("", `must start with "http://" or "https://"`)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return Fieldf("", "is not a valid URL")
	case u.Hostname() == "":
		return Fieldf("", "has no host")
	case !validHost(u.Hostname()):
		return Fieldf("", "has a host that is neither a name nor an IP address in its usual form")
	case u.User != nil:
		return Fieldf("", "must not carry a user name or password; use a header instead")
	case u.Fragment != "" || strings.HasSuffix(s, "#"):
		return Fieldf("", "must not have a fragment (#…)")
	}
	if p := u.Port(); p != "" {
		if !validPort(p) {
			return Fieldf("", "has a port that is not 1 to 65535")
		}
	} else if strings.HasSuffix(u.Host, ":") {
		return Fieldf("", "has an empty port")
	}
	return nil
}

// validHost accepts IP addresses in their usual form, without a zone, and names. A name whose last label is a number
// is neither: some resolvers read 0177.0.0.1, 127.1 or 2130706433 as an address (WHATWG URL, "ends in a number").
func validHost(h string) bool {
	if addr, err := netip.ParseAddr(h); err == nil {
		return addr.Zone() == ""
	}
	for i := range len(h) {
		if !isAlnum(h[i]) && h[i] != '-' && h[i] != '.' && h[i] != '_' {
			return false
		}
	}
	labels := strings.Split(strings.TrimSuffix(h, "."), ".")
	if slices.Contains(labels, "") {
		return false
	}
	last := strings.ToLower(labels[len(labels)-1])
	if digits := strings.Trim(last, "0123456789"); digits == "" {
		return false
	}
	hex, isHex := strings.CutPrefix(last, "0x")
	return !isHex || strings.Trim(hex, "0123456789abcdef") != ""
}

func validPort(p string) bool {
	n := 0
	for i := range len(p) {
		if p[i] < '0' || p[i] > '9' {
			return false
		}
		if n = n*10 + int(p[i]-'0'); n > 65535 {
			return false
		}
	}
	return n > 0
}

// ValidatePattern checks a pattern of event types: "*" or "all"; or words of [A-Za-z0-9_:/-] joined by dots, of which
// the first or the last, or both, may be "*", or one between others, or the last two. What they match is defined by
// match.MatchPattern.
func ValidatePattern(p string) error {
	switch {
	case p == "":
		return Fieldf("", "is empty")
	case len(p) > MaxPatternLen:
		return Fieldf("", "must be at most %d bytes", MaxPatternLen)
	case p == "*" || p == "all" || p == "*.*":
		return nil
	}
	core := strings.TrimSuffix(strings.TrimPrefix(p, "*."), ".*")
	if !strings.HasPrefix(p, "*.") { // else there is one already that is not at the end
		if before, after, ok := strings.Cut(p, ".*."); ok && after == "*" {
			core = before
		} else if ok && !strings.HasSuffix(after, "*") {
			core = before + "." + after
		}
	}
	if strings.Contains(core, "*") {
		return Fieldf("", `%.60q: a * may only stand for whole words: "person.*", "*.created", "*.job.*", "metadata.*.created"`, p)
	}
	if !ValidEventType(core) || strings.HasPrefix(core, ".") || strings.HasSuffix(core, ".") {
		return Fieldf("", "%.60q is not an event type or a pattern of one", p)
	}
	return nil
}

// reservedHeaders are set by Sidehook, by HTTP itself or by its connection handling, so a webhook may not set them.
var reservedHeaders = map[string]bool{
	"host": true, "content-length": true, "content-type": true, "content-encoding": true, "transfer-encoding": true,
	"connection": true, "keep-alive": true, "proxy-connection": true, "proxy-authenticate": true,
	"proxy-authorization": true, "te": true, "trailer": true, "upgrade": true, "expect": true, "date": true,
	"user-agent": true, "traceparent": true, "tracestate": true, "accept-encoding": true,
}

// ValidateHeader checks a header that a webhook or a transformer wants to add.
func ValidateHeader(h Header) error {
	switch key := strings.ToLower(h.Key); {
	case h.Key == "":
		return Fieldf("key", "is required")
	case len(h.Key) > MaxHeaderKeyLen:
		return Fieldf("key", "must be at most %d bytes", MaxHeaderKeyLen)
	case !isToken(h.Key):
		return Fieldf("key", "%.60q is not a legal header name", h.Key)
	case reservedHeaders[key] || strings.HasPrefix(key, "webhook-") || strings.HasPrefix(key, "sidehook-"):
		return Fieldf("key", "%s is set by Sidehook and cannot be changed", h.Key)
	case len(h.Value) > MaxHeaderValueLen:
		return Fieldf("value", "must be at most %d bytes", MaxHeaderValueLen)
	case !isHeaderValue(h.Value):
		return Fieldf("value", "must not have line breaks, other control characters, or spaces at its ends")
	}
	return nil
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(s[i])) {
			return false
		}
	}
	return s != ""
}

// isHeaderValue reports whether s is a field-value of RFC 9110, section 5.5, in UTF-8.
func isHeaderValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s) && strings.Trim(s, " \t") == s
}

func indexed(field string, i int) string {
	return field + "[" + itoa(i) + "]"
}
