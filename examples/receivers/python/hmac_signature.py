"""The scheme hmac of a webhook whose signing is

{"scheme": "hmac", "header": "X-Signature", "prefix": "v0=", "template": "v0:{timestamp}:{body}",
 "timestamp_header": "X-Signature-Timestamp"}
"""

import hashlib
import hmac
import time

TOLERANCE = 5 * 60  # seconds


def verify(secret, headers, body, now=None):
    """body is the bytes as they came; now is in seconds."""
    timestamp = headers.get("x-signature-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 15:
        return False
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE:
        return False
    signed = f"v0:{timestamp}:".encode() + body
    expected = "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers.get("x-signature", "").encode(), expected.encode())
