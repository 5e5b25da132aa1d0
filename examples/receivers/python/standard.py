"""Standard Webhooks, v1: HMAC-SHA256 with a secret whsec_… that sender and receiver share."""

import base64
import hashlib
import hmac
import time

TOLERANCE = 5 * 60  # seconds


def verify(secret, headers, body, now=None):
    """body is the bytes as they came; now is in seconds."""
    id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not id or not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 15:
        return False
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    # While a secret rotates there are several signatures, separated by spaces. One that holds is enough.
    given = headers.get("webhook-signature", "").encode().split(b" ")
    return any([hmac.compare_digest(signature, expected) for signature in given])
