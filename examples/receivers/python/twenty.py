"""Twenty: hex HMAC-SHA256 over timestamp:body. The timestamp is in milliseconds."""

import hashlib
import hmac
import time

TOLERANCE = 5 * 60  # seconds


def verify(secret, headers, body, now=None):
    """body is the bytes as they came; now is in seconds."""
    timestamp = headers.get("x-twenty-webhook-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 15:
        return False
    if abs((time.time() if now is None else now) - int(timestamp) / 1000) > TOLERANCE:
        return False
    expected = hmac.new(secret.encode(), f"{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    given = headers.get("x-twenty-webhook-signature", "")
    return hmac.compare_digest(given.encode(), expected.encode())
