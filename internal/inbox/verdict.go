package inbox

import (
	"errors"
	"net/http"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// SchemeStandard is Standard Webhooks, the one scheme that is verified here.
const SchemeStandard = "standard-webhooks"

// Verdict says whether the signature of an arrival holds.
type Verdict struct {
	// Scheme is SchemeStandard, or empty when nothing was verified.
	Scheme string `json:"scheme"`
	OK     bool   `json:"ok"`
	// Reason, in plain words.
	Reason string `json:"reason"`
}

// verify checks a request by the published library against each secret.
func verify(secrets []string, body []byte, headers http.Header) Verdict {
	if len(secrets) == 0 {
		return Verdict{Reason: "no secret set"}
	}
	v := Verdict{Scheme: SchemeStandard}
	for _, secret := range secrets {
		hook, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			err = hook.Verify(body, headers)
		}
		if err == nil {
			v.OK, v.Reason = true, "signature holds"
			return v
		}
		v.Reason = verdictReason(err)
	}
	return v
}

func verdictReason(err error) string {
	switch {
	case errors.Is(err, standardwebhooks.ErrRequiredHeaders):
		return "webhook-id, webhook-timestamp or webhook-signature is missing"
	case errors.Is(err, standardwebhooks.ErrInvalidHeaders):
		return "webhook-timestamp is not a number of seconds"
	case errors.Is(err, standardwebhooks.ErrMessageTooOld):
		return "the timestamp is more than 5 minutes old"
	case errors.Is(err, standardwebhooks.ErrMessageTooNew):
		return "the timestamp is more than 5 minutes ahead"
	case errors.Is(err, standardwebhooks.ErrNoMatchingSignature):
		return "no signature matches the secret and the body"
	}
	return err.Error()
}
