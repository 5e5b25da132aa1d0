package console

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/sidehook/sidehook/control"
)

//go:embed templates/*.html
var templateFiles embed.FS

// templates are the pages, parsed once for each language.
type templates struct {
	pages map[string]*template.Template // by language + "/" + name
}

func loadTemplates(t *texts, a *assets) (*templates, error) {
	all := &templates{pages: make(map[string]*template.Template)}
	for _, lang := range languages {
		shared, err := template.New("").Option("missingkey=error").Funcs(templateFuncs(t, a, lang)).ParseFS(templateFiles, "templates/_*.html")
		if err != nil {
			return nil, err
		}
		files, err := fs.Glob(templateFiles, "templates/[a-z]*.html")
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			set, err := shared.Clone()
			if err != nil {
				return nil, err
			}
			if _, err := set.ParseFS(templateFiles, file); err != nil {
				return nil, err
			}
			all.pages[lang+"/"+strings.TrimSuffix(path.Base(file), ".html")] = set
		}
	}
	return all, nil
}

func (t *templates) execute(w io.Writer, lang, name string, p *page) error {
	set := t.pages[lang+"/"+name]
	if set == nil {
		return fmt.Errorf("there is no template %q", name)
	}
	return set.ExecuteTemplate(w, "layout", p)
}

// templateFuncs are what templates call beside the data.
func templateFuncs(t *texts, a *assets, lang string) template.FuncMap {
	return template.FuncMap{
		"t":     func(key string, values ...any) string { return t.say(lang, key, values...) },
		"asset": a.url,
		"dict":  dict,
		"id":    fieldID,
		// reason says why something is as it is, in the service's own words where they are not known.
		"reason": func(text string) string { return t.refusal(lang, text, nil, text) },
		// failing says since when a webhook failed, if that is why it is disabled.
		"failing": control.FailingSince,
		"time":    func(at time.Time) template.HTML { return timeElement(lang, at) },
	}
}

// dict makes a map of pairs, to give a shared template several values.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("dict takes pairs")
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is not a name", pairs[i])
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}

// timeElement shows a time in UTC; the script makes it that of the reader's zone. The zero time shows as a dash.
func timeElement(lang string, at time.Time) template.HTML {
	if at.IsZero() {
		return "–"
	}
	layout := "2006-01-02 15:04:05"
	if lang == "vi" {
		layout = "02/01/2006 15:04:05"
	}
	at = at.UTC()
	// Both forms consist of digits and punctuation alone.
	return template.HTML(`<time datetime="` + at.Format(time.RFC3339) + `">` + at.Format(layout) + ` UTC</time>`)
}
