package console

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

//go:embed locales
var localeFiles embed.FS

// languages of the console; the first is for whoever asks for none of them.
var languages = []string{"en", "vi"}

// texts says everything in the languages there are.
type texts struct {
	matcher language.Matcher
	by      map[string]*i18n.Localizer
	keys    map[string]bool // of English; a test holds the others to them
	// refusals are the Vietnamese of what the service says about bad input, by the English format; see problems.go.
	refusals map[string]string
}

func loadTexts() (*texts, error) {
	bundle := i18n.NewBundle(language.English)
	bundle.RegisterUnmarshalFunc("yaml", func(b []byte, v any) error { return yaml.Unmarshal(b, v) })
	t := &texts{by: make(map[string]*i18n.Localizer), keys: make(map[string]bool), refusals: make(map[string]string)}
	entries, err := fs.ReadDir(localeFiles, "locales")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		b, err := fs.ReadFile(localeFiles, "locales/"+e.Name())
		if err != nil {
			return nil, err
		}
		if e.Name() == "refusals.vi.yaml" {
			if err := yaml.Unmarshal(b, &t.refusals); err != nil {
				return nil, fmt.Errorf("%s: %w", e.Name(), err)
			}
			continue
		}
		file, err := bundle.ParseMessageFileBytes(b, e.Name())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		for _, m := range file.Messages {
			if file.Tag == language.English {
				t.keys[m.ID] = true
			}
		}
	}
	var tags []language.Tag
	for _, lang := range languages {
		tags = append(tags, language.Make(lang))
		t.by[lang] = i18n.NewLocalizer(bundle, lang)
	}
	t.matcher = language.NewMatcher(tags)
	return t, nil
}

func (t *texts) has(lang string) bool { return slices.Contains(languages, lang) }

func (t *texts) knows(key string) bool { return t.keys[key] }

// choose returns the language of a request: that of the switch, else what the browser asks for.
func (t *texts) choose(r *http.Request) string {
	if cookie, err := r.Cookie(languageCookie); err == nil && t.has(cookie.Value) {
		return cookie.Value
	}
	accept := r.Header.Get("Accept-Language")
	if len(accept) > 1000 {
		accept = ""
	}
	_, index := language.MatchStrings(t.matcher, accept)
	return languages[index]
}

// say returns a text with its values, pairs of name and value; the value N also chooses the plural. A key that does not
// exist is said as it is; a test looks for such.
func (t *texts) say(lang, key string, values ...any) string {
	cfg := &i18n.LocalizeConfig{MessageID: key}
	if len(values) > 0 {
		data := make(map[string]any, len(values)/2)
		for i := 0; i+1 < len(values); i += 2 {
			name, _ := values[i].(string)
			data[name] = values[i+1]
		}
		cfg.TemplateData = data
		if n, ok := data["N"]; ok {
			cfg.PluralCount = n
		}
	}
	text, err := t.by[lang].Localize(cfg)
	if err != nil {
		return key
	}
	return text
}

// refusal says in a language why the service refused something: format and args as the error has them, reason where it
// has none.
func (t *texts) refusal(lang, format string, args []any, reason string) string {
	if lang == "en" || format == "" {
		return reason
	}
	translated, ok := t.refusals[format]
	if !ok {
		return reason
	}
	return strings.TrimSpace(fmt.Sprintf(translated, args...))
}
