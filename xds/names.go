package xds

import (
	"strings"

	"github.com/sidehook/sidehook"
)

// TypePrefix starts every type URL.
const TypePrefix = "type.googleapis.com/sidehook.config.v1."

// Type URLs of the resources.
const (
	WebhookType     = TypePrefix + "Webhook"
	SecretType      = TypePrefix + "Secret"
	EventTypeType   = TypePrefix + "EventType"
	TransformerType = TypePrefix + "Transformer"
	AppPolicyType   = TypePrefix + "AppPolicy"
)

// Types lists the type URLs in the order in which a client subscribes to them: what others refer to comes first.
var Types = []string{AppPolicyType, TransformerType, SecretType, EventTypeType, WebhookType}

// WebhookName returns apps/{app}/webhooks/{id}.
func WebhookName(k sidehook.WebhookKey) string { return "apps/" + k.App + "/webhooks/" + k.ID }

// SecretName returns apps/{app}/secrets/{webhook}.{id}.
func SecretName(app, webhook, id string) string {
	return "apps/" + app + "/secrets/" + webhook + "." + id
}

// EventTypeName returns apps/{app}/event-types/{type}.
func EventTypeName(app, typ string) string { return "apps/" + app + "/event-types/" + typ }

// TransformerName returns apps/{app}/transformers/{name}.
func TransformerName(app, name string) string { return "apps/" + app + "/transformers/" + name }

// AppPolicyName returns apps/{app}/policy.
func AppPolicyName(app string) string { return "apps/" + app + "/policy" }

// AppOfName returns the app that a resource name belongs to, and whether the name is well formed so far.
func AppOfName(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, "apps/")
	app, _, more := strings.Cut(rest, "/")
	return app, ok && more && sidehook.ValidName(app)
}

// App returns the app that the resource belongs to.
func (r *Resource) App() string {
	switch {
	case r.Webhook != nil:
		return r.Webhook.App
	case r.Secret != nil:
		return r.Secret.App
	case r.EventType != nil:
		return r.EventType.App
	case r.Transformer != nil:
		return r.Transformer.App
	default:
		return r.AppPolicy.App
	}
}

// TypeOfName returns the type URL of the resource that has a name, empty when the name is not well formed.
func TypeOfName(name string) string {
	rest, ok := strings.CutPrefix(name, "apps/")
	_, rest, more := strings.Cut(rest, "/")
	kind, id, nested := strings.Cut(rest, "/")
	switch {
	case !ok || !more || nested == (kind == "policy") || nested && id == "":
		return ""
	case kind == "policy":
		return AppPolicyType
	case kind == "webhooks":
		return WebhookType
	case kind == "secrets":
		return SecretType
	case kind == "event-types":
		return EventTypeType
	case kind == "transformers":
		return TransformerType
	}
	return ""
}
