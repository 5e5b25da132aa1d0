"""As verify.py, of v1a: the published authweave-webhooks package, which needs Python 3.12. The secret is the public key."""

import asyncio
import base64
import json
import sys
import time

from authweave_core import ReplayOutcome
from authweave_webhooks import (
    Ed25519PublicKey,
    PublicKeyDocument,
    StandardWebhooksVerifier,
    StaticPublicKeyResolver,
    WebhookVerificationError,
)

OWNERSHIP = {"environment": "test", "owner": "demo", "endpoint": "https://example.com/in"}


class Remembered:
    """A store against replays that ends with the process."""

    def __init__(self):
        self.seen = set()

    async def check_and_store(self, key, *, ttl_seconds):
        known = key in self.seen
        self.seen.add(key)
        return ReplayOutcome.REPLAY if known else ReplayOutcome.STORED


def verify(public_key, headers, body):
    key = Ed25519PublicKey(base64.b64decode(public_key.removeprefix("whpk_")))
    document = PublicKeyDocument(version="1", not_before=0, retire_after=None, keys=(key,), **OWNERSHIP)
    verifier = StandardWebhooksVerifier(
        StaticPublicKeyResolver(document),
        replay_store=Remembered(),
        time_source=lambda: int(time.time()),
        **{f"expected_{name}": value for name, value in OWNERSHIP.items()},
    )
    return asyncio.run(verifier.verify(headers=headers, body=body)).body


for line in sys.stdin:
    request = json.loads(line)
    try:
        body = verify(request["secret"], request["headers"], base64.b64decode(request["body"]))
        answer = {"payload": json.loads(body)}
    except WebhookVerificationError as e:
        answer = {"error": str(e) or "refused"}
    print(json.dumps(answer), flush=True)
