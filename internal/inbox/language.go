package inbox

import (
	"embed"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"

	"github.com/sidehook/sidehook"
)

//go:embed assets
var assets embed.FS

const (
	languageCookie = "sidehook_inbox_lang" // cookies know no ports, so that the name must be ours alone
	languageParam  = "lang"
	maxAccept      = 1 << 10 // bytes of Accept-Language that are read
)

// speech speaks one language.
type speech struct {
	Tag string
	loc *i18n.Localizer
}

var (
	languageTags = []language.Tag{language.English, language.Vietnamese} // the first is the default
	matcher      = language.NewMatcher(languageTags)
	speeches     = sync.OnceValue(loadSpeeches)
)

func loadSpeeches() []*speech {
	bundle := i18n.NewBundle(languageTags[0])
	bundle.RegisterUnmarshalFunc("json", json.Unmarshal)
	var all []*speech
	for _, tag := range languageTags {
		if _, err := bundle.LoadMessageFileFS(assets, "assets/locales/"+tag.String()+".json"); err != nil {
			panic("inbox: " + err.Error()) // a file of this package is broken
		}
		all = append(all, &speech{Tag: tag.String(), loc: i18n.NewLocalizer(bundle, tag.String())})
	}
	return all
}

func defaultLanguage() *speech { return speeches()[0] }

// t gives a text; pairs are the names and values of what stands in it.
func (s *speech) t(id string, pairs ...any) string { return s.localize(id, nil, pairs) }

// n gives a text that depends on a number, which stands in it as PluralCount.
func (s *speech) n(id string, count int, pairs ...any) string {
	return s.localize(id, count, append(pairs, "PluralCount", count))
}

func (s *speech) localize(id string, count any, pairs []any) string {
	data := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if name, ok := pairs[i].(string); ok {
			data[name] = pairs[i+1]
		}
	}
	text, err := s.loc.Localize(&i18n.LocalizeConfig{MessageID: id, TemplateData: data, PluralCount: count})
	if err != nil {
		return id // a test holds the files to what is asked of them
	}
	return text
}

// verdict says a verdict in a sentence.
func (s *speech) verdict(v *Verdict) string {
	age := time.Duration(v.Age) * time.Second
	id := "verdict." + string(v.Code)
	switch {
	case v.Code == CodeNoKey && v.Scheme == "":
		id += ".unknown"
	case v.Code == CodeNoFittingKey && v.Scheme != sidehook.SchemeStandard:
		id += ".hmac"
	}
	return s.t(id, "Scheme", s.scheme(v.Scheme, v.Version), "Key", v.Key, "Kind", v.KeyKind, "Headers", strings.Join(v.Headers, ", "),
		"Signed", v.Signed, "Age", age.Abs().String())
}

// scheme names a scheme.
func (s *speech) scheme(name, version string) string {
	if name == "" {
		return ""
	}
	return strings.TrimSpace(s.t("scheme."+name) + " " + version)
}

// speechOf picks the language: what the address asks for, which is remembered; what was remembered; what the browser
// asks for.
func speechOf(w http.ResponseWriter, r *http.Request) *speech {
	if s := speechNamed(r.URL.Query().Get(languageParam)); s != nil {
		http.SetCookie(w, &http.Cookie{
			Name: languageCookie, Value: s.Tag, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		})
		return s
	}
	if c, err := r.Cookie(languageCookie); err == nil {
		if s := speechNamed(c.Value); s != nil {
			return s
		}
	}
	accept := r.Header.Get("Accept-Language")
	if len(accept) > maxAccept {
		accept = ""
	}
	_, i := language.MatchStrings(matcher, accept)
	return speeches()[i]
}

func speechNamed(tag string) *speech {
	for _, s := range speeches() {
		if s.Tag == tag {
			return s
		}
	}
	return nil
}
