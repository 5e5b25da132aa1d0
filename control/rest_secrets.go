package control

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sidehook/sidehook"
)

type secretView struct {
	ID        string     `json:"id"`
	CreatedAt time.Time  `json:"created_at"`
	NotAfter  *time.Time `json:"not_after,omitempty" doc:"When it stops signing; absent: never"`
	Live      bool       `json:"live" doc:"Whether it signs now"`
	// Secret is set in the answer to rotate only.
	Secret string `json:"secret,omitempty" doc:"The new key (whsec_…), in the answer to rotate only"`
}

func viewOfSecret(s SecretInfo) secretView {
	v := secretView{ID: s.ID, CreatedAt: s.CreatedAt, Live: s.Live}
	if !s.NotAfter.IsZero() {
		v.NotAfter = &s.NotAfter
	}
	return v
}

type rotateInput struct {
	App  string `path:"app" doc:"Id of the app"`
	ID   string `path:"id" doc:"Id of the webhook"`
	Body *struct {
		Overlap *string `json:"overlap,omitempty" doc:"How long the present secrets go on signing beside the new one: 0s to 168h. Default 24h" example:"24h"`
	}
}

func (h *rest) registerSecrets() {
	const path = "/v1/apps/{app}/webhooks/{id}/secrets"
	tags := []string{"secrets"}
	register(h, forApp, huma.Operation{
		OperationID: "rotate-secret", Method: http.MethodPost, Path: path, Tags: tags,
		Summary: "Give a webhook a new secret, which signs at once; the answer shows it, this once",
		Errors:  []int{404, 409, 422}, DefaultStatus: http.StatusCreated,
	}, h.rotateSecret)
	register(h, forApp, huma.Operation{
		OperationID: "list-secrets", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "List a webhook's secrets without their keys, newest first", Errors: []int{404},
	}, h.listSecrets)
}

func (h *rest) rotateSecret(ctx context.Context, in *rotateInput) (*body[secretView], error) {
	overlap := DefaultOverlap
	if in.Body != nil && in.Body.Overlap != nil {
		var err error
		if overlap, err = parseDuration("overlap", *in.Body.Overlap); err != nil {
			return nil, err
		}
	}
	info, key, err := h.svc.RotateSecret(ctx, sidehook.WebhookKey{App: in.App, ID: in.ID}, overlap)
	if err != nil {
		return nil, err
	}
	out := &body[secretView]{viewOfSecret(info)}
	out.Body.Secret = key.Reveal()
	return out, nil
}

func (h *rest) listSecrets(ctx context.Context, in *webhookPath) (*body[list[secretView]], error) {
	secrets, err := h.svc.ListSecrets(ctx, in.key())
	if err != nil {
		return nil, err
	}
	out := &body[list[secretView]]{list[secretView]{Data: []secretView{}}}
	for _, s := range secrets {
		out.Body.Data = append(out.Body.Data, viewOfSecret(s))
	}
	return out, nil
}
