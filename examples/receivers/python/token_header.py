"""A secret in a header of the webhook's own, here X-Webhook-Token, for receivers that check no signature."""

import hmac


def verify(secret, headers):
    return hmac.compare_digest(headers.get("x-webhook-token", "").encode(), secret.encode())
