package console

import (
	"net/http"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

func (c *Console) appRoutes() {
	c.handle("GET "+Root+"apps", forAdmin, (*visit).listApps)
	c.handle("GET "+Root+"apps/new", forAdmin, func(v *visit) error {
		return v.render(http.StatusOK, "app_form", &appForm{New: true, Publish: string(sidehook.PublishLenient)})
	})
	c.handle("POST "+Root+"apps", forAdmin, (*visit).createApp)
	c.handle("GET "+Root+"apps/{app}", forApp, func(v *visit) error { return v.redirect(v.appPath("webhooks")) })
	c.handle("GET "+Root+"apps/{app}/settings", forAdmin, func(v *visit) error {
		return v.render(http.StatusOK, "app_form", formOfApp(v.app))
	})
	c.handle("POST "+Root+"apps/{app}/settings", forAdmin, (*visit).updateApp)
}

// pageRows is how many rows a page of a list has.
const pageRows = 10

// appList is the data of apps.html.
type appList struct {
	Apps  []appRow
	Pager pager
}

type appRow struct {
	*control.App
	Webhooks int
	Sidecars int // connected
}

// pager leads through a list by cursors.
type pager struct {
	First string // query of the first page; empty on it
	Next  string // query of the next page; empty on the last
}

func (v *visit) listApps() error {
	cursor := v.form("cursor")
	apps, next, err := v.c.svc.ListApps(v.ctx(), control.PageRequest{Limit: pageRows, Cursor: cursor})
	if err != nil {
		return err
	}
	connected := make(map[string]int)
	for _, s := range v.c.fleet.Sidecars() {
		for _, app := range s.Apps {
			if s.Connected {
				connected[app]++
			}
		}
	}
	data := appList{}
	for _, app := range apps {
		webhooks, err := v.c.svc.AllWebhooks(v.ctx(), app.ID)
		if err != nil {
			return err
		}
		data.Apps = append(data.Apps, appRow{App: app, Webhooks: len(webhooks), Sidecars: connected[app.ID]})
	}
	if cursor != "" {
		data.Pager.First = "?"
	}
	if next != "" {
		data.Pager.Next = "?cursor=" + next // base64url
	}
	return v.render(http.StatusOK, "apps", data)
}

// appForm is the data of app_form.html.
type appForm struct {
	New         bool
	ID          string
	DisplayName string
	HTTPSOnly   bool
	Publish     string
	Problems    *problems
}

func formOfApp(app *control.App) *appForm {
	return &appForm{ID: app.ID, DisplayName: app.DisplayName, HTTPSOnly: app.HTTPSOnly, Publish: string(app.Publish)}
}

func (v *visit) readAppForm() *appForm {
	f := v.r.PostForm
	return &appForm{
		ID: f.Get("app"), DisplayName: f.Get("display_name"), HTTPSOnly: f.Get("https_only") == "on", Publish: f.Get("publish"),
	}
}

func (f *appForm) spec() control.AppSpec {
	return control.AppSpec{DisplayName: f.DisplayName, HTTPSOnly: f.HTTPSOnly, Publish: sidehook.PublishMode(f.Publish)}
}

func (v *visit) createApp() error {
	f := v.readAppForm()
	f.New = true
	_, err := v.c.svc.CreateApp(v.ctx(), f.ID, f.spec())
	return v.savedApp(f, err, Root+"apps", "done.app-created")
}

func (v *visit) updateApp() error {
	f := v.readAppForm()
	f.ID = v.app.ID
	_, _, err := v.c.svc.PutApp(v.ctx(), f.ID, f.spec())
	return v.savedApp(f, err, v.appPath("settings"), "done.app-updated")
}

// savedApp goes on to next, or shows the form again with what is wrong with it.
func (v *visit) savedApp(f *appForm, err error, next, note string) error {
	if f.Problems = v.problems(err); f.Problems != nil {
		return v.render(f.Problems.Code, "app_form", f)
	}
	if err != nil {
		return err
	}
	return v.done(next, note)
}
