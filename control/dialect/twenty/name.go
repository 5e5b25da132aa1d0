package twenty

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

// maxNames bounds how many names are tried for a webhook.
const maxNames = 100

// createNamed creates a webhook under a name that is free: Twenty's have none, and in Sidehook they are unique. It is
// made of the description, or else of the URL's host.
func (h *handler) createNamed(ctx context.Context, spec sidehook.Webhook, description *string, extras control.WebhookExtras) (*sidehook.Webhook, error) {
	base := ""
	if description != nil {
		base = plainName(*description)
	}
	if u, err := url.Parse(spec.URL); base == "" && err == nil {
		base = plainName(u.Hostname())
	}
	if base == "" {
		base = "Webhook"
	}
	for n := 1; ; n++ {
		spec.Name = numbered(base, n)
		w, _, err := h.svc.CreateWebhookWith(ctx, spec, extras)
		var taken *control.ConflictError
		if n < maxNames && errors.As(err, &taken) && taken.Field == "name" {
			continue
		}
		return w, err
	}
}

// numbered is the nth name made of base, within the length that names have.
func numbered(base string, n int) string {
	suffix := ""
	if n > 1 {
		suffix = " (" + strconv.Itoa(n) + ")"
	}
	runes := []rune(base)
	if room := sidehook.MaxWebhookName - len(suffix); len(runes) > room {
		runes = runes[:room]
	}
	return strings.TrimSpace(string(runes)) + suffix
}

// plainName takes line breaks and other control characters out of a text, and double spaces.
func plainName(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}
