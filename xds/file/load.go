package file

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds"
)

// Limits in bytes.
const (
	MaxFileSize    = 16 << 20
	maxKeyFileSize = 4 << 10
)

// Load reads a file. When its contents are wrong the error is an *Error that lists everything; else it is one of
// reading the file.
func Load(path string) ([]*xds.Resource, error) {
	text, err := readLimited(path, MaxFileSize)
	if err != nil {
		return nil, fmt.Errorf("webhooks file: %w", err)
	}
	all, _, err := parse(path, text)
	return all, err
}

// readLimited reads a file and refuses one over its limit.
func readLimited(path string, limit int64) (text []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		return nil, fmt.Errorf("%s is over the limit of %d bytes: %w", path, limit, sidehook.ErrTooLarge)
	}
	return text, err
}

// parse reads text; path is for relative files and for people. It also returns the key files it read.
func parse(path string, text []byte) (all []*xds.Resource, keyFiles []string, err error) {
	l := &loader{
		reader: reader{file: path, places: make(map[string]position)}, dir: filepath.Dir(path), apps: make(map[string]bool),
	}
	if root := l.document(text); root != nil {
		l.mapping(root, "", fields{
			"apps": func(n ast.Node, path string) { l.list(n, path, l.app) },
		})
		if _, there := l.places["apps"]; !there && len(l.problems) == 0 {
			l.fail(position{}, "apps", "is required (apps: [] for none)")
		}
	}
	if len(l.problems) > 0 {
		sortProblems(l.problems)
		return nil, l.keyFiles, &Error{l.problems}
	}
	return l.all, l.keyFiles, nil
}

// loader makes resources of what the reader reads.
type loader struct {
	reader
	dir      string
	apps     map[string]bool
	all      []*xds.Resource
	keyFiles []string
}

// unique reports a second use of a name among seen.
func (l *loader) unique(seen map[string]bool, path, what, name string) {
	if seen[name] {
		l.failAs(path, sidehook.Fieldf(what, "%q is used already", name))
	}
	seen[name] = true
}

// begun returns what tells whether problems were found since.
func (l *loader) begun() func() bool {
	before := len(l.problems)
	return func() bool { return len(l.problems) > before }
}

func (l *loader) app(n ast.Node, path string) {
	var (
		id                               string
		policy                           xds.AppPolicy
		webhooks, eventTypes, transforms ast.Node
	)
	later := func(into *ast.Node) func(ast.Node, string) { return func(n ast.Node, _ string) { *into = n } }
	failed := l.begun()
	l.mapping(n, path, fields{
		"id": l.text(&id),
		"policy": func(n ast.Node, path string) {
			l.policy(n, path, &policy)
		},
		"webhooks": later(&webhooks), "event_types": later(&eventTypes), "transformers": later(&transforms),
	})
	switch {
	case failed() && id == "":
		return
	case !sidehook.ValidName(id):
		l.failAs(path, sidehook.Fieldf("id", "must be 1 to %d of A-Z a-z 0-9 _ -", sidehook.MaxNameLen))
		return
	}
	l.unique(l.apps, path, "id", id)
	policy.App = id
	l.all = append(l.all, xds.OfAppPolicy(&policy)) // always: its presence makes the app served
	l.appParts(id, path, policy.HTTPSOnly, webhooks, eventTypes, transforms)
}

func (l *loader) policy(n ast.Node, path string, into *xds.AppPolicy) {
	var publish string
	l.mapping(n, path, fields{
		"display_name": l.text(&into.DisplayName), "https_only": l.boolean(&into.HTTPSOnly), "publish": l.text(&publish),
	})
	switch into.Publish = sidehook.PublishMode(publish); into.Publish {
	case "", sidehook.PublishLenient, sidehook.PublishStrict:
	default:
		l.failAs(path, sidehook.Fieldf("publish", "must be %s or %s", sidehook.PublishLenient, sidehook.PublishStrict))
	}
}

func (l *loader) appParts(id, path string, httpsOnly bool, webhooks, eventTypes, transforms ast.Node) {
	if webhooks != nil {
		ids, names := make(map[string]bool), make(map[string]bool)
		l.list(webhooks, path+".webhooks", func(n ast.Node, path string) {
			w := l.webhook(n, path, id)
			if w == nil {
				return
			}
			l.unique(ids, path, "id", w.ID)
			l.unique(names, path, "name", w.Name)
			if httpsOnly && !strings.HasPrefix(w.URL, "https://") {
				l.failAs(path, sidehook.Fieldf("url", "must start with https://: the app's policy is https_only"))
			}
		})
	}
	if eventTypes != nil {
		types := make(map[string]bool)
		l.list(eventTypes, path+".event_types", func(n ast.Node, path string) { l.eventType(n, path, id, types) })
	}
	if transforms != nil {
		names := make(map[string]bool)
		l.list(transforms, path+".transformers", func(n ast.Node, path string) { l.transformer(n, path, id, names) })
	}
}

// webhook adds a webhook with its secrets, and returns it unless something is wrong with it.
func (l *loader) webhook(n ast.Node, path, app string) *sidehook.Webhook {
	w := &sidehook.Webhook{App: app, AutomaticRetry: true}
	var secrets []*sidehook.Secret
	var status, ordering string
	sample := 1.0
	failed := l.begun()
	l.mapping(n, path, fields{
		"id": l.text(&w.ID), "name": l.text(&w.Name), "url": l.text(&w.URL), "events": l.texts(&w.Events),
		"automatic_retry": l.boolean(&w.AutomaticRetry), "format": l.text(&w.Format),
		"transformer": l.text(&w.Transformer), "status": l.text(&status), "timeout": l.duration(&w.Timeout),
		"headers": func(n ast.Node, path string) { l.list(n, path, l.header(&w.Headers)) },
		"signing": l.signing(&w.Signing), "ordering": l.text(&ordering), "filter": l.text(&w.Filter), "history_sample": l.number(&sample),
		"rate_limit": l.rateLimit(&w.RateLimit),
		"retry_policy": func(n ast.Node, path string) {
			l.mapping(n, path, fields{"schedule": func(n ast.Node, path string) {
				l.list(n, path, func(n ast.Node, path string) {
					var d time.Duration
					l.duration(&d)(n, path)
					w.RetrySchedule = append(w.RetrySchedule, d)
				})
			}})
		},
		"secrets": func(n ast.Node, path string) {
			l.list(n, path, func(n ast.Node, path string) { secrets = append(secrets, l.secret(n, path, len(secrets))) })
		},
	})
	if failed() {
		return nil
	}
	w.Status, w.Ordering, w.HistorySample = sidehook.WebhookStatus(status), sidehook.Ordering(ordering), &sample
	if w.Name == "" {
		w.Name = w.ID
	}
	if _, given := l.places[path+".timeout"]; given && w.Timeout == 0 {
		l.failAs(path, sidehook.Fieldf("timeout", "must be %s to %s", sidehook.MinTimeout, sidehook.MaxTimeout))
	}
	w.Normalize()
	err := w.Validate()
	if err == nil {
		err = xds.CheckFilter(w)
	}
	if err != nil {
		l.failAs(path, err)
	}
	if len(secrets) == 0 {
		l.failAs(path, sidehook.Fieldf("secrets", "at least one is required, to sign with"))
	}
	ids := make(map[string]bool)
	for i, s := range secrets {
		at := path + ".secrets[" + strconv.Itoa(i) + "]"
		s.App, s.Webhook = w.App, w.ID
		if sidehook.ValidName(w.ID) {
			if err := s.Validate(); err != nil {
				l.failAs(at, err)
			} else if err := w.Takes(s.Key); err != nil {
				l.failAs(at, l.whereKeyIs(at, err))
			}
		}
		l.unique(ids, at, "id", s.ID)
		l.all = append(l.all, xds.OfSecret(s))
	}
	l.all = append(l.all, xds.OfWebhook(w))
	if failed() {
		return nil
	}
	return w
}

func (l *loader) header(into *[]sidehook.Header) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		var h sidehook.Header
		l.mapping(n, path, fields{"key": l.text(&h.Key), "value": l.text(&h.Value)})
		*into = append(*into, h)
	}
}

// whereKeyIs says key_file in an error about the key that was read from one.
func (l *loader) whereKeyIs(path string, err error) error {
	var fe *sidehook.FieldError
	if _, given := l.places[path+".key_file"]; given && errors.As(err, &fe) && fe.Field == "key" {
		return sidehook.Fieldf("key_file", "%s", fe.Reason)
	}
	return err
}

func (l *loader) signing(into *sidehook.Signing) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		l.mapping(n, path, fields{
			"scheme": l.text(&into.Scheme), "algorithm": l.text(&into.Algorithm), "encoding": l.text(&into.Encoding),
			"header": l.text(&into.Header), "prefix": l.text(&into.Prefix), "template": l.text(&into.Template),
			"timestamp_header": l.text(&into.TimestampHeader),
		})
	}
}

// secret reads a secret; the i-th has the id s<i+1> by default.
func (l *loader) secret(n ast.Node, path string, i int) *sidehook.Secret {
	s := &sidehook.Secret{ID: "s" + strconv.Itoa(i+1)}
	var key, keyFile string
	failed := l.begun()
	l.mapping(n, path, fields{
		"id": l.text(&s.ID), "key": l.text(&key), "key_file": l.text(&keyFile),
		"not_before": l.time(&s.NotBefore), "not_after": l.time(&s.NotAfter),
	})
	if failed() {
		return s
	}
	switch {
	case key == "" && keyFile == "":
		l.failAs(path, sidehook.Fieldf("key", "is required: whsec_ and base64, whsk_ and base64, or text; or give a key_file"))
		return s
	case key != "" && keyFile != "":
		l.failAs(path, sidehook.Fieldf("key_file", "must not be given beside key"))
		return s
	case keyFile != "":
		if !filepath.IsAbs(keyFile) {
			keyFile = filepath.Join(l.dir, keyFile)
		}
		l.keyFiles = append(l.keyFiles, keyFile)
		text, err := readLimited(keyFile, maxKeyFileSize)
		if err != nil {
			l.failAs(path, sidehook.Fieldf("key_file", "%s", err))
			return s
		}
		key = strings.TrimSpace(string(text))
	}
	var err error
	if s.Key, err = sidehook.ImportKey(key); err != nil {
		l.failAs(path, l.whereKeyIs(path, err))
	}
	return s
}

func (l *loader) eventType(n ast.Node, path, app string, seen map[string]bool) {
	t := &sidehook.EventType{App: app}
	var sample, schema string
	failed := l.begun()
	l.mapping(n, path, fields{
		"type": l.text(&t.Type), "product": l.text(&t.Product), "sample": l.text(&sample), "schema": l.text(&schema),
		"name": func(n ast.Node, path string) {
			t.Name = make(map[string]string)
			l.languages(n, path, t.Name)
		},
		"description": func(n ast.Node, path string) {
			t.Description = make(map[string]string)
			l.languages(n, path, t.Description)
		},
	})
	if failed() {
		return
	}
	if sample != "" {
		t.Sample = []byte(sample)
	}
	if schema != "" {
		t.Schema = []byte(schema)
	}
	l.unique(seen, path, "type", t.Type)
	l.check(path, xds.OfEventType(t))
}

// languages reads a mapping whose keys are languages.
func (l *loader) languages(n ast.Node, path string, into map[string]string) {
	known := make(fields)
	for _, lang := range []string{"vi", "en"} {
		known[lang] = func(n ast.Node, path string) {
			var s string
			l.text(&s)(n, path)
			into[lang] = s
		}
	}
	l.mapping(n, path, known)
}

func (l *loader) transformer(n ast.Node, path, app string, seen map[string]bool) {
	t := &xds.Transformer{App: app}
	failed := l.begun()
	l.mapping(n, path, fields{"name": l.text(&t.Name), "description": l.text(&t.Description)})
	if failed() {
		return
	}
	l.unique(seen, path, "name", t.Name)
	l.check(path, xds.OfTransformer(t))
}

// check adds r when it would be accepted from a control plane.
func (l *loader) check(path string, r *xds.Resource) {
	body, err := r.Any()
	if err == nil {
		_, err = xds.Parse(r.Name, body)
	}
	if err != nil {
		l.failAs(path, err)
		return
	}
	l.all = append(l.all, r)
}
