package control

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sidehook/sidehook"
)

// appPath is the input of what is about an app.
type appPath struct {
	App string `path:"app" doc:"Id of the app: 1 to 64 of A-Z a-z 0-9 _ -"`
}

// pageQuery is the input of a list.
type pageQuery struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many to return"`
	Cursor string `query:"cursor" doc:"next_cursor of an earlier page"`
}

func (q *pageQuery) page() PageRequest { return PageRequest{Limit: q.Limit, Cursor: q.Cursor} }

// list is a page of an answer.
type list[T any] struct {
	Data       []T    `json:"data" nullable:"false"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Continues the list; absent at its end"`
}

type body[T any] struct{ Body T }

type appView struct {
	ID          string    `json:"id"`
	DisplayName string    `json:"display_name"`
	HTTPSOnly   bool      `json:"https_only" doc:"Refuse http:// webhooks"`
	Publish     string    `json:"publish" enum:"lenient,strict" doc:"What becomes of events whose type is not in the app's catalogue: taken and counted, or refused"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

func viewOfApp(a *App) appView {
	return appView{
		ID: a.ID, DisplayName: a.DisplayName, HTTPSOnly: a.HTTPSOnly, Publish: string(a.Publish), CreatedAt: a.CreatedAt,
		UpdatedAt: a.UpdatedAt,
	}
}

type putAppInput struct {
	App  string `path:"app" doc:"Id of the app: 1 to 64 of A-Z a-z 0-9 _ -"`
	Body *struct {
		DisplayName string `json:"display_name,omitempty" doc:"For people; at most 100 characters"`
		HTTPSOnly   bool   `json:"https_only,omitempty" doc:"Refuse http:// webhooks"`
		Publish     string `json:"publish,omitempty" doc:"lenient (default): events whose type is not in the app's catalogue are taken and counted; strict: they are refused"`
	}
}

type putAppOutput struct {
	Status int
	Body   appView
}

func (h *rest) registerApps() {
	tags := []string{"apps"}
	register(h, forAdmin, huma.Operation{
		OperationID: "put-app", Method: http.MethodPut, Path: "/v1/apps/{app}", Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Create an app (201) or replace what is said about it (200)", Errors: []int{409, 422},
	}, h.putApp)
	register(h, forApp, huma.Operation{
		OperationID: "get-app", Method: http.MethodGet, Path: "/v1/apps/{app}", Tags: tags,
		Summary: "Get an app", Errors: []int{404},
	}, func(ctx context.Context, in *appPath) (*body[appView], error) {
		app, err := h.svc.GetApp(ctx, in.App)
		if err != nil {
			return nil, err
		}
		return &body[appView]{viewOfApp(app)}, nil
	})
	register(h, forApp, huma.Operation{
		OperationID: "list-apps", Method: http.MethodGet, Path: "/v1/apps", Tags: tags,
		Summary: "List the apps that the token allows, by id", Errors: []int{422},
	}, h.listApps)
	register(h, forAdmin, huma.Operation{
		OperationID: "delete-app", Method: http.MethodDelete, Path: "/v1/apps/{app}", Tags: tags,
		Summary: "Delete an app that has no webhooks, its event types, and the tokens that are for it alone",
		Errors:  []int{404, 409}, DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *appPath) (*struct{}, error) {
		return nil, h.svc.DeleteApp(ctx, in.App)
	})
}

func (h *rest) putApp(ctx context.Context, in *putAppInput) (*putAppOutput, error) {
	var spec AppSpec
	if in.Body != nil {
		spec = AppSpec{
			DisplayName: in.Body.DisplayName, HTTPSOnly: in.Body.HTTPSOnly, Publish: sidehook.PublishMode(in.Body.Publish),
		}
	}
	app, created, err := h.svc.PutApp(ctx, in.App, spec)
	if err != nil {
		return nil, err
	}
	out := &putAppOutput{Status: http.StatusOK, Body: viewOfApp(app)}
	if created {
		out.Status = http.StatusCreated
	}
	return out, nil
}

func (h *rest) listApps(ctx context.Context, in *pageQuery) (*body[list[appView]], error) {
	out := &body[list[appView]]{list[appView]{Data: []appView{}}}
	if token := ctx.Value(tokenContext{}).(*Token); token.Kind == TokenApp {
		app, err := h.svc.GetApp(ctx, token.Apps[0])
		if err != nil {
			return nil, err
		}
		out.Body.Data = append(out.Body.Data, viewOfApp(app))
		return out, nil
	}
	apps, next, err := h.svc.ListApps(ctx, in.page())
	if err != nil {
		return nil, err
	}
	for _, app := range apps {
		out.Body.Data = append(out.Body.Data, viewOfApp(app))
	}
	out.Body.NextCursor = next
	return out, nil
}
