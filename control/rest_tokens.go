package control

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

type tokenView struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Kind      string    `json:"kind" enum:"admin,app,sidecar"`
	Apps      []string  `json:"apps" nullable:"false"`
	CreatedAt time.Time `json:"created_at"`
	// Token is set in the answer to create only.
	Token string `json:"token,omitempty" doc:"The token (sht_…), in the answer to create only"`
}

func viewOfToken(t *Token) tokenView {
	v := tokenView{ID: t.ID, Name: t.Name, Kind: string(t.Kind), Apps: t.Apps, CreatedAt: t.CreatedAt}
	if v.Apps == nil {
		v.Apps = []string{}
	}
	return v
}

type createTokenInput struct {
	Body struct {
		Name string   `json:"name" doc:"For people; 1 to 100 characters"`
		Kind string   `json:"kind" doc:"admin: everything; app: one app and its webhooks; sidecar: configuration and fleet over gRPC, for a list of apps"`
		Apps []string `json:"apps,omitempty" doc:"Apps that it is for: none for admin, one for app, 1 to 100 for sidecar"`
	}
}

type tokenPath struct {
	ID string `path:"id" doc:"Id of the token (tok_…)"`
}

func (h *rest) registerTokens() {
	tags := []string{"tokens"}
	register(h, forAdmin, huma.Operation{
		OperationID: "create-token", Method: http.MethodPost, Path: "/v1/tokens", Tags: tags,
		Summary: "Create a token; the answer shows it, this once", Errors: []int{422}, DefaultStatus: http.StatusCreated,
	}, h.createToken)
	register(h, forAdmin, huma.Operation{
		OperationID: "list-tokens", Method: http.MethodGet, Path: "/v1/tokens", Tags: tags,
		Summary: "List tokens without themselves, newest first", Errors: []int{422},
	}, h.listTokens)
	register(h, forAdmin, huma.Operation{
		OperationID: "revoke-token", Method: http.MethodDelete, Path: "/v1/tokens/{id}", Tags: tags,
		Summary: "Revoke a token; what is connected with it is disconnected", Errors: []int{404, 409},
		DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *tokenPath) (*struct{}, error) {
		return nil, h.svc.RevokeToken(ctx, in.ID)
	})
}

func (h *rest) createToken(ctx context.Context, in *createTokenInput) (*body[tokenView], error) {
	token, plain, err := h.svc.CreateToken(ctx, TokenSpec{
		Name: in.Body.Name, Kind: TokenKind(in.Body.Kind), Apps: in.Body.Apps,
	})
	if err != nil {
		return nil, err
	}
	out := &body[tokenView]{viewOfToken(token)}
	out.Body.Token = plain
	return out, nil
}

func (h *rest) listTokens(ctx context.Context, in *pageQuery) (*body[list[tokenView]], error) {
	tokens, next, err := h.svc.ListTokens(ctx, in.page())
	if err != nil {
		return nil, err
	}
	out := &body[list[tokenView]]{list[tokenView]{Data: []tokenView{}, NextCursor: next}}
	for _, t := range tokens {
		out.Body.Data = append(out.Body.Data, viewOfToken(t))
	}
	return out, nil
}
