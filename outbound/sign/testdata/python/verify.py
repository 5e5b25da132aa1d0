"""Reads requests, one JSON object {secret, headers, body} a line with body in base64, and answers each with a line:
{"payload": …} as the published standardwebhooks package verified and parsed it, or {"error": "…"}."""

import base64
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "packages"))
from standardwebhooks.webhooks import Webhook, WebhookVerificationError  # noqa: E402

for line in sys.stdin:
    request = json.loads(line)
    try:
        body = base64.b64decode(request["body"])
        answer = {"payload": Webhook(request["secret"]).verify(body, request["headers"])}
    except WebhookVerificationError as e:
        answer = {"error": str(e) or "refused"}
    print(json.dumps(answer), flush=True)
