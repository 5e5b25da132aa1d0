package control

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sidehook/sidehook"
)

type secretView struct {
	ID        string     `json:"id"`
	CreatedAt time.Time  `json:"created_at"`
	NotAfter  *time.Time `json:"not_after,omitempty" doc:"When it stops signing; absent: never"`
	Live      bool       `json:"live" doc:"Whether it is valid now. Under the standard schemes every live secret signs, under the others the one that ends first"`
	Kind      string     `json:"kind" enum:"symmetric,ed25519,text" doc:"What the key is"`
	PublicKey string     `json:"public_key,omitempty" doc:"What receivers check Ed25519 signatures with (whpk_…)"`
	// Secret is set in the answer to rotate only.
	Secret string `json:"secret,omitempty" doc:"The new key (whsec_…) that the receiver shares, in the answer to rotate only; for ed25519 it shares public_key instead"`
}

func viewOfSecret(s SecretInfo) secretView {
	v := secretView{ID: s.ID, CreatedAt: s.CreatedAt, Live: s.Live, Kind: string(s.Kind), PublicKey: s.PublicKey}
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
		Secret  *string `json:"secret,omitempty" doc:"The key to change to, as the receiver has it; see secret of create-webhook. Default: a new one"`
	}
}

// importKey reads a key that was sent as the field secret; the zero key when there was none.
func importKey(sent *string) (sidehook.Key, error) {
	if sent == nil {
		return sidehook.Key{}, nil
	}
	key, err := sidehook.ImportKey(*sent)
	var fe *sidehook.FieldError
	if errors.As(err, &fe) {
		return key, fe.At("secret")
	}
	return key, err
}

func (h *rest) registerSecrets() {
	const path = "/v1/apps/{app}/webhooks/{id}/secrets"
	tags := []string{"secrets"}
	register(h, forApp, huma.Operation{
		OperationID: "rotate-secret", Method: http.MethodPost, Path: path, Tags: tags,
		Summary: "Give a webhook a new secret; the answer shows it, this once",
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
	var given sidehook.Key
	if in.Body != nil {
		var err error
		if given, err = importKey(in.Body.Secret); err != nil {
			return nil, err
		}
	}
	info, key, err := h.svc.RotateSecretTo(ctx, sidehook.WebhookKey{App: in.App, ID: in.ID}, overlap, given)
	if err != nil {
		return nil, err
	}
	out := &body[secretView]{viewOfSecret(info)}
	out.Body.Secret = key.Shared()
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
