"""Standard Webhooks, v1a: Ed25519. The receiver has the public key whpk_… alone, which is no secret."""

import base64
import time

import ed25519  # Python's own library has none; with the package cryptography, use its Ed25519PublicKey instead

TOLERANCE = 5 * 60  # seconds


def verify(public_key, headers, body, now=None):
    """body is the bytes as they came; now is in seconds."""
    id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not id or not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 15:
        return False
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE:
        return False
    key = base64.b64decode(public_key.removeprefix("whpk_"))
    signed = f"{id}.{timestamp}.".encode() + body
    for field in headers.get("webhook-signature", "").split(" "):
        version, _, signature = field.partition(",")
        if version == "v1a" and ed25519.verify(key, signed, base64.b64decode(signature)):
            return True
    return False
