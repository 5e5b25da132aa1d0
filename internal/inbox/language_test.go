package inbox

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
)

func texts(t *testing.T, lang string) map[string]any {
	t.Helper()
	b, err := assets.ReadFile("assets/locales/" + lang + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestLanguagesSayTheSame: the same texts, with the same values in them.
func TestLanguagesSayTheSame(t *testing.T) {
	en, vi := texts(t, "en"), texts(t, "vi")
	values := regexp.MustCompile(`\{\{\.\w+\}\}`)
	valuesOf := func(v any) []string {
		found := values.FindAllString(string(must(json.Marshal(v))), -1)
		slices.Sort(found)
		return slices.Compact(found)
	}
	for id := range vi {
		if en[id] == nil {
			t.Errorf("%s is in vi alone", id)
		}
	}
	for id, text := range en {
		other := vi[id]
		if other == nil {
			t.Errorf("%s is not in vi", id)
			continue
		}
		if a, b := valuesOf(text), valuesOf(other); !slices.Equal(a, b) {
			t.Errorf("%s has %v in en, %v in vi", id, a, b)
		}
		a, plural := text.(map[string]any)
		b, otherPlural := other.(map[string]any)
		if plural != otherPlural || !slices.Equal(slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b))) {
			t.Errorf("%s has other plural forms in vi", id)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// TestEveryTextThatIsAskedForIsThere, and none that is not.
func TestEveryTextThatIsAskedForIsThere(t *testing.T) {
	page, err := assets.ReadFile("assets/pages.html")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{"confirm.clear": true, "confirm.delete": true, "bin.clear": true, "bin.delete": true}
	for _, m := range regexp.MustCompile(`[({ ][tn] "([a-z_.]+)"`).FindAllStringSubmatch(string(page), -1) {
		used[m[1]] = true
	}
	for _, id := range scriptTexts {
		used[id] = true
	}
	script, err := assets.ReadFile("assets/inbox.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`texts\["([a-z.]+)"\]`).FindAllStringSubmatch(string(script), -1) {
		if !slices.Contains(scriptTexts, m[1]) {
			t.Errorf("the script asks for %s, which it is not given", m[1])
		}
	}
	// Every field that can be refused has a place on the page, and a text.
	for _, m := range regexp.MustCompile(`template "error" "([a-z_.]+)"|data-error="([a-z]+)"`).FindAllStringSubmatch(string(page), -1) {
		if field := m[1] + m[2]; !slices.Contains(scriptTexts, "error."+field) {
			t.Errorf("there is no text for the field %s", field)
		}
	}
	for _, c := range Codes() {
		used["badge."+string(c)], used["verdict."+string(c)] = true, true
	}
	used["verdict.no_key.unknown"], used["verdict.no_fitting_key.hmac"] = true, true
	for _, s := range schemes() {
		used["scheme."+s] = true
	}
	en := texts(t, "en")
	for id := range used {
		if en[id] == nil {
			t.Errorf("%s is asked for and not there", id)
		}
	}
	for id := range en {
		if !used[id] {
			t.Errorf("%s is there and not asked for", id)
		}
	}
}

func TestLanguageIsChosen(t *testing.T) {
	_, base := open(t)
	for _, c := range []struct{ query, cookie, accept, want string }{
		{"", "", "", "en"},
		{"", "", "vi-VN,vi;q=0.9,en;q=0.5", "vi"},
		{"", "", "fr,vi;q=0.5", "vi"},
		{"", "", "fr", "en"},
		{"", "", strings.Repeat("vi,", 1000), "en"},
		{"", "", "\x7f;;q=q", "en"},
		{"", "vi", "en", "vi"},
		{"", "xx", "vi", "vi"},
		{"?lang=en", "vi", "vi", "en"},
		{"?lang=%3Cscript%3E", "", "", "en"},
	} {
		headers := []string{"Accept-Language", c.accept}
		if c.cookie != "" {
			headers = append(headers, "Cookie", languageCookie+"="+c.cookie)
		}
		for _, path := range []string{"/", "/bins/b/view"} {
			if strings.ContainsRune(c.accept, 0x7f) {
				continue // no client can send it; speechOf is asked below
			}
			_, header, page := ask(t, http.MethodGet, base+path+c.query, "", headers...)
			if !strings.Contains(page, `<html lang="`+c.want+`">`) {
				t.Errorf("%+v: not %s", c, c.want)
			}
			if set := header.Get("Set-Cookie"); (set != "") != (c.query == "?lang=en") {
				t.Errorf("%+v: cookie %q", c, set)
			}
		}
	}
	if s := speechOf(nil, &http.Request{URL: mustURL(t), Header: http.Header{"Accept-Language": {"\x7f;;q=q"}}}); s.Tag != "en" {
		t.Errorf("got %s", s.Tag)
	}
}

func TestPagesAreSmallAndInBothLanguages(t *testing.T) {
	_, base := open(t)
	mustPut(t, base, "b", `{"secrets":["`+secret+`"]}`)
	for range 3 {
		ask(t, http.MethodPost, base+"/in/b", `{"type":"person.created"}`, headerID, "evt_1", "Sidehook-Attempt", "2")
	}
	css, js := string(must(assets.ReadFile("assets/inbox.css"))), string(must(assets.ReadFile("assets/inbox.js")))
	id := regexp.MustCompile(`\b(bin|bins|card|form|facts|badge|verdict|scheme|app|lang|confirm)\.[a-z_]+(\.[a-z_]+)?\b`)
	for _, path := range []string{"/", "/bins/b/view", "/bins/fresh/view"} {
		for _, lang := range []string{"vi", "en"} {
			_, _, page := ask(t, http.MethodGet, base+path+"?lang="+lang, "")
			if n := len(page) + len(css) + len(js); n > 200<<10 {
				t.Errorf("%s has %d bytes", path, n)
			}
			visible := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, " ")
			if found := id.FindString(visible); found != "" {
				t.Errorf("%s shows the name of a text, %s", path, found)
			}
			if strings.Contains(page, "Attempt 2 of evt_1") != (lang == "en" && path == "/bins/b/view") {
				t.Errorf("%s %s: the attempt", path, lang)
			}
		}
	}
}

// TestEveryVerdictIsSaid in both languages.
func TestEveryVerdictIsSaid(t *testing.T) {
	for _, s := range speeches() {
		for _, code := range Codes() {
			for _, scheme := range []string{"", sidehook.SchemeStandard, SchemeGitHub} {
				v := Verdict{Code: code, Scheme: scheme, Key: 1, KeyKind: "whsec_", Headers: []string{"x-y"}, Age: 400}
				if said := s.verdict(&v); strings.Contains(said, "verdict.") || strings.Contains(said, "<no value>") {
					t.Errorf("%s %s: %q", s.Tag, code, said)
				}
			}
		}
	}
}

func mustURL(t *testing.T) *url.URL {
	t.Helper()
	u, err := url.Parse("http://127.0.0.1/")
	if err != nil {
		t.Fatal(err)
	}
	return u
}
