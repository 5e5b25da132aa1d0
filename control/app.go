package control

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sidehook/sidehook"
)

// App is the tenant that owns webhooks and events.
type App struct {
	ID string
	// DisplayName is for people; may be empty.
	DisplayName string
	// HTTPSOnly refuses http:// webhooks.
	HTTPSOnly bool
	// Publish is what becomes of events whose type is not among the app's event types.
	Publish   sidehook.PublishMode
	CreatedAt time.Time
	UpdatedAt time.Time
}

// MaxDisplayName bounds App.DisplayName and Token.Name, in characters.
const MaxDisplayName = 100

// AppSpec is what can be said about an app.
type AppSpec struct {
	DisplayName string
	HTTPSOnly   bool
	// Publish; empty for sidehook.PublishLenient. Strict needs an app that has event types.
	Publish sidehook.PublishMode
}

// PutApp creates an app or replaces what is said about it; created says which.
func (s *Service) PutApp(ctx context.Context, id string, spec AppSpec) (app *App, created bool, err error) {
	return s.putApp(ctx, id, spec, false)
}

// CreateApp creates an app; one that is there already is a *ConflictError, and stays as it is.
func (s *Service) CreateApp(ctx context.Context, id string, spec AppSpec) (*App, error) {
	app, _, err := s.putApp(ctx, id, spec, true)
	return app, err
}

func (s *Service) putApp(ctx context.Context, id string, spec AppSpec, fresh bool) (app *App, created bool, err error) {
	if err := validApp(id); err != nil {
		return nil, false, err
	}
	if spec.DisplayName, err = cleanText("display_name", spec.DisplayName); err != nil {
		return nil, false, err
	}
	switch spec.Publish {
	case "", sidehook.PublishLenient, sidehook.PublishStrict:
	default:
		return nil, false, sidehook.Fieldf("publish", "must be %s or %s", sidehook.PublishLenient, sidehook.PublishStrict)
	}
	err = s.change(ctx, func(t *txn) error {
		now := s.now()
		var r appRecord
		found, err := t.get(appKey(id), &r)
		if err != nil {
			return err
		}
		if found && fresh {
			return conflictf("app", "is taken by another app; choose another")
		}
		if created = !found; created {
			r.CreatedAt = now
		}
		if found && spec.HTTPSOnly && !r.HTTPSOnly {
			if err := s.allHTTPS(t, id); err != nil {
				return err
			}
		}
		if spec.Publish == sidehook.PublishStrict && r.publish() != sidehook.PublishStrict {
			if err := hasEventTypes(t, id); err != nil {
				return err
			}
		}
		r.DisplayName, r.HTTPSOnly, r.Publish, r.UpdatedAt = spec.DisplayName, spec.HTTPSOnly, string(spec.Publish), now
		t.put(appKey(id), &r)
		app = r.app(id)
		return nil
	})
	return app, created, err
}

// allHTTPS checks that no webhook of the app has an http:// URL, and none can get one before the commit: an addition
// changes the count, an update the webhook itself.
func (s *Service) allHTTPS(t *txn, app string) error {
	if _, err := t.get(countKey(app), &countRecord{}); err != nil {
		return err
	}
	pairs, err := t.list(webhookPrefix(app))
	if err != nil {
		return err
	}
	for _, p := range pairs {
		var r webhookRecord
		if err := decode(p, &r); err != nil {
			return err
		}
		if isPlain(r.URL) {
			return conflictf("https_only", "webhook %q has an http:// URL; change that first", r.Name)
		}
	}
	return nil
}

// hasEventTypes checks that the app has a catalogue, so that strict publishing does not refuse everything; it still has one
// at the commit.
func hasEventTypes(t *txn, app string) error {
	var count eventTypesRecord
	if _, err := t.get(eventTypeCountKey(app), &count); err != nil {
		return err
	}
	if count.EventTypes == 0 {
		return conflictf("publish", "app has no event types yet; put or import some, then make it strict")
	}
	return nil
}

// GetApp returns an app.
func (s *Service) GetApp(ctx context.Context, id string) (*App, error) {
	if !sidehook.ValidName(id) {
		return nil, notFound("app", id)
	}
	p, err := s.kv.Get(ctx, appKey(id))
	if errors.Is(err, sidehook.ErrNotFound) {
		return nil, notFound("app", id)
	}
	if err != nil {
		return nil, err
	}
	var r appRecord
	if err := decode(p, &r); err != nil {
		return nil, err
	}
	return r.app(id), nil
}

// ListApps lists the apps by id, a page.
func (s *Service) ListApps(ctx context.Context, page PageRequest) (apps []*App, next string, err error) {
	pairs, _, err := s.kv.List(ctx, appsPrefix)
	if err != nil {
		return nil, "", err
	}
	for _, p := range pairs {
		var r appRecord
		if err := decode(p, &r); err != nil {
			return nil, "", err
		}
		apps = append(apps, r.app(strings.TrimPrefix(p.Key, appsPrefix)))
	}
	return paginate(apps, page, func(a *App) string { return a.ID })
}

// DeleteApp removes an app that has no webhooks any more, its event types, and the tokens that were for it alone.
func (s *Service) DeleteApp(ctx context.Context, id string) error {
	if !sidehook.ValidName(id) {
		return notFound("app", id)
	}
	return s.change(ctx, func(t *txn) error {
		if _, err := requireApp(t, id); err != nil {
			return err
		}
		var count countRecord
		counted, err := t.get(countKey(id), &count)
		if err != nil {
			return err
		}
		if count.Webhooks > 0 {
			return conflictf("", "app has %d webhooks; delete them first", count.Webhooks)
		}
		if counted {
			t.delete(countKey(id))
		}
		if err := deleteTokensOf(t, id); err != nil {
			return err
		}
		if err := deleteEventTypesOf(t, id); err != nil {
			return err
		}
		t.delete(appKey(id))
		return nil
	})
}

// requireApp reads an app's record; that it exists unchanged becomes a condition.
func requireApp(t *txn, id string) (*appRecord, error) {
	var r appRecord
	found, err := t.get(appKey(id), &r)
	if err == nil && !found {
		err = notFound("app", id)
	}
	return &r, err
}

func validApp(id string) error {
	if !sidehook.ValidName(id) {
		return sidehook.Fieldf("app", "must be 1 to %d of A-Z a-z 0-9 _ -", sidehook.MaxNameLen)
	}
	return nil
}

// cleanText trims a text for people and checks it.
func cleanText(field, s string) (string, error) {
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) > MaxDisplayName {
		return "", sidehook.Fieldf(field, "must be at most %d characters", MaxDisplayName)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", sidehook.Fieldf(field, "must be UTF-8 without control characters")
	}
	return s, nil
}

// isPlain reports whether a valid URL is not https.
func isPlain(url string) bool { return strings.HasPrefix(url, "http://") }
