package xds

import (
	"testing"

	"github.com/sidehook/sidehook"
)

func TestTypeOfName(t *testing.T) {
	for name, want := range map[string]string{
		WebhookName(sidehook.WebhookKey{App: "a", ID: "w"}): WebhookType,
		SecretName("a", "w", "s"):                           SecretType,
		EventTypeName("a", "x/y"):                           EventTypeType,
		TransformerName("a", "t"):                           TransformerType,
		AppPolicyName("a"):                                  AppPolicyType,
		"":                                                  "",
		"apps/a":                                            "",
		"apps/a/":                                           "",
		"apps/a/webhooks":                                   "",
		"apps/a/webhooks/":                                  "",
		"apps/a/policy/x":                                   "",
		"apps/a/futures/x":                                  "",
		"hosts/a/policy":                                    "",
	} {
		if got := TypeOfName(name); got != want {
			t.Errorf("%q is of type %q, want %q", name, got, want)
		}
	}
}
