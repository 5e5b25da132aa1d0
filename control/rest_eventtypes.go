package control

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control/catalogue"
)

// eventTypeView is an event type as answers show it and requests take it back.
type eventTypeView struct {
	Type        string            `json:"type" doc:"As in the events: 1 to 256 of A-Z a-z 0-9 _ . : / -"`
	Product     string            `json:"product,omitempty" doc:"For grouping; at most 64 bytes"`
	Name        map[string]string `json:"name,omitempty" doc:"What people call it, by language (vi, en); at most 100 characters each" example:"{\"en\":\"Channel live\",\"vi\":\"Kênh bắt đầu live\"}"`
	Description map[string]string `json:"description,omitempty" doc:"What it means, by language; at most 2000 bytes each"`
	Sample      json.RawMessage   `json:"sample,omitempty" doc:"A realistic payload: any JSON, at most 64 KiB; absent or null for none"`
	Schema      json.RawMessage   `json:"schema,omitempty" doc:"The JSON Schema that data of such events fits, at most 64 KiB: draft 2020-12 unless $schema names another, with references within itself only. What is published otherwise is counted, or refused by an app that publishes strictly. Absent or null for none"`
}

func viewOfEventType(t *sidehook.EventType) eventTypeView {
	return eventTypeView{
		Type: t.Type, Product: t.Product, Name: t.Name, Description: t.Description, Sample: t.Sample,
		Schema: t.Schema,
	}
}

func (v *eventTypeView) eventType(app, typ string) sidehook.EventType {
	t := sidehook.EventType{App: app, Type: typ, Product: v.Product, Name: v.Name, Description: v.Description}
	if !bytes.Equal(v.Sample, []byte("null")) {
		t.Sample = v.Sample
	}
	if !bytes.Equal(v.Schema, []byte("null")) {
		t.Schema = v.Schema
	}
	return t
}

// pathEventType is an event type whose type is in the path and may be in the body too.
type pathEventType eventTypeView

// TransformSchema implements huma.SchemaTransformer.
func (pathEventType) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = nil
	return s
}

type eventTypeChangesView struct {
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Removed int `json:"removed"`
	Kept    int `json:"kept" doc:"Stayed as they were"`
}

func changesAnswer(c EventTypeChanges, err error) (*body[eventTypeChangesView], error) {
	if err != nil {
		return nil, err
	}
	return &body[eventTypeChangesView]{eventTypeChangesView(c)}, nil
}

type listEventTypesInput struct {
	App     string `path:"app" doc:"Id of the app"`
	Product string `query:"product" doc:"Only those of this product"`
	Limit   int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many to return"`
	Cursor  string `query:"cursor" doc:"next_cursor of an earlier page"`
}

type replaceEventTypesInput struct {
	App  string `path:"app" doc:"Id of the app"`
	Body struct {
		Data []eventTypeView `json:"data" nullable:"false" doc:"The whole catalogue: at most 450 entries. What is not in it is removed"`
	}
}

type eventTypePath struct {
	App  string `path:"app" doc:"Id of the app"`
	Type string `path:"type" doc:"The event type; a slash in it is sent as %2F"`
}

type putEventTypeInput struct {
	App  string `path:"app" doc:"Id of the app"`
	Type string `path:"type" doc:"The event type; a slash in it is sent as %2F"`
	Body pathEventType
}

type putEventTypeOutput struct {
	Status int
	Body   eventTypeView
}

type importInput struct {
	App  string `path:"app" doc:"Id of the app"`
	Body struct {
		Catalogue string `json:"catalogue" doc:"Name of a built-in catalogue; GET /v1/catalogues lists them"`
		Overwrite bool   `json:"overwrite,omitempty" doc:"Also make entries that the app has already those of the catalogue. Default false: they stay as they are"`
	}
}

func (h *rest) registerEventTypes() {
	const all, one = "/v1/apps/{app}/event-types", "/v1/apps/{app}/event-types/{type}"
	tags := []string{"event types"}
	register(h, forApp, huma.Operation{
		OperationID: "list-event-types", Method: http.MethodGet, Path: all, Tags: tags,
		Summary: "List the app's event types, by product and type", Errors: []int{404, 422},
	}, h.listEventTypes)
	register(h, forApp, huma.Operation{
		OperationID: "replace-event-types", Method: http.MethodPut, Path: all, Tags: tags,
		Summary: "Replace the app's whole catalogue, in one step", Errors: []int{404, 409, 413, 422},
	}, h.replaceEventTypes)
	register(h, forApp, huma.Operation{
		OperationID: "import-event-types", Method: http.MethodPost, Path: all + "/import", Tags: tags,
		Summary: "Add the entries of a built-in catalogue", Errors: []int{404, 409, 422}, DefaultStatus: http.StatusOK,
	}, func(ctx context.Context, in *importInput) (*body[eventTypeChangesView], error) {
		return changesAnswer(h.svc.ImportEventTypes(ctx, in.App, in.Body.Catalogue, in.Body.Overwrite))
	})
	register(h, forApp, huma.Operation{
		OperationID: "get-event-type", Method: http.MethodGet, Path: one, Tags: tags, Summary: "Get an event type",
		Errors: []int{404},
	}, func(ctx context.Context, in *eventTypePath) (*body[eventTypeView], error) {
		t, err := h.svc.GetEventType(ctx, in.App, in.Type)
		if err != nil {
			return nil, err
		}
		return &body[eventTypeView]{viewOfEventType(t)}, nil
	})
	register(h, forApp, huma.Operation{
		OperationID: "put-event-type", Method: http.MethodPut, Path: one, Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Add an event type (201) or replace it (200)", Errors: []int{404, 409, 413, 422},
	}, h.putEventType)
	register(h, forApp, huma.Operation{
		OperationID: "delete-event-type", Method: http.MethodDelete, Path: one, Tags: tags,
		Summary: "Delete an event type; webhooks keep their patterns", Errors: []int{404, 409},
		DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *eventTypePath) (*struct{}, error) {
		return nil, h.svc.DeleteEventType(ctx, in.App, in.Type)
	})
}

func (h *rest) listEventTypes(ctx context.Context, in *listEventTypesInput) (*body[list[eventTypeView]], error) {
	types, next, err := h.svc.ListEventTypes(ctx, in.App, in.Product, PageRequest{Limit: in.Limit, Cursor: in.Cursor})
	if err != nil {
		return nil, err
	}
	out := &body[list[eventTypeView]]{list[eventTypeView]{Data: []eventTypeView{}, NextCursor: next}}
	for _, t := range types {
		out.Body.Data = append(out.Body.Data, viewOfEventType(t))
	}
	return out, nil
}

func (h *rest) replaceEventTypes(ctx context.Context, in *replaceEventTypesInput) (*body[eventTypeChangesView], error) {
	all := make([]sidehook.EventType, 0, len(in.Body.Data))
	for _, v := range in.Body.Data {
		all = append(all, v.eventType(in.App, v.Type))
	}
	return changesAnswer(h.svc.ReplaceEventTypes(ctx, in.App, all))
}

func (h *rest) putEventType(ctx context.Context, in *putEventTypeInput) (*putEventTypeOutput, error) {
	if in.Body.Type != "" && in.Body.Type != in.Type {
		return nil, sidehook.Fieldf("type", "must be the one in the path, %q, or absent", in.Type)
	}
	t, created, err := h.svc.PutEventType(ctx, (*eventTypeView)(&in.Body).eventType(in.App, in.Type))
	if err != nil {
		return nil, err
	}
	out := &putEventTypeOutput{Status: http.StatusOK, Body: viewOfEventType(t)}
	if created {
		out.Status = http.StatusCreated
	}
	return out, nil
}

// catalogueView is a built-in catalogue in the list of them.
type catalogueView struct {
	Name     string            `json:"name"`
	Title    map[string]string `json:"title" doc:"For people, by language (vi, en)"`
	Products []string          `json:"products" nullable:"false"`
	// EventTypes counts them.
	EventTypes int `json:"event_types" doc:"How many event types it has"`
}

type wholeCatalogueView struct {
	Name       string            `json:"name"`
	Title      map[string]string `json:"title" doc:"For people, by language (vi, en)"`
	EventTypes []eventTypeView   `json:"event_types" nullable:"false"`
}

type cataloguePath struct {
	Name string `path:"name" doc:"Name of a built-in catalogue"`
}

func (h *rest) registerCatalogues() {
	tags := []string{"event types"}
	register(h, forApp, huma.Operation{
		OperationID: "list-catalogues", Method: http.MethodGet, Path: "/v1/catalogues", Tags: tags,
		Summary: "List the built-in catalogues, by name",
	}, func(context.Context, *struct{}) (*body[list[catalogueView]], error) {
		out := &body[list[catalogueView]]{list[catalogueView]{Data: []catalogueView{}}}
		for _, name := range catalogue.Names() {
			c, _ := catalogue.Lookup(name)
			out.Body.Data = append(out.Body.Data, catalogueView{
				Name: c.Name, Title: c.Title, Products: c.Products(), EventTypes: len(c.EventTypes),
			})
		}
		return out, nil
	})
	register(h, forApp, huma.Operation{
		OperationID: "get-catalogue", Method: http.MethodGet, Path: "/v1/catalogues/{name}", Tags: tags,
		Summary: "Get a built-in catalogue with its event types", Errors: []int{404},
	}, func(_ context.Context, in *cataloguePath) (*body[wholeCatalogueView], error) {
		c, ok := catalogue.Lookup(in.Name)
		if !ok {
			return nil, notFound("catalogue", in.Name)
		}
		view := wholeCatalogueView{Name: c.Name, Title: c.Title, EventTypes: []eventTypeView{}}
		for _, t := range c.EventTypes {
			view.EventTypes = append(view.EventTypes, viewOfEventType(&t))
		}
		return &body[wholeCatalogueView]{view}, nil
	})
}
