"""Checks the receivers against ../vectors.tsv: python3 check.py"""

import pathlib
import sys

import hmac_signature
import standard
import standard_ed25519
import token_header
import twenty

VERIFIERS = {
    "standard": standard.verify,
    "standard-ed25519": standard_ed25519.verify,
    "twenty": twenty.verify,
    "hmac": hmac_signature.verify,
    "token": lambda secret, headers, body, now: token_header.verify(secret, headers),
}

checked = failed = 0
for line in pathlib.Path(__file__).parent.parent.joinpath("vectors.tsv").read_text("utf-8").split("\n"):
    if not line or line.startswith("#"):
        continue
    what, scheme, want, now, secret, fields, body = line.split("\t")
    headers = dict(field.split("=", 1) for field in fields.split("|") if field)
    try:
        got = VERIFIERS[scheme](secret, headers, body.encode(), int(now) / 1000)
    except ValueError:
        got = False
    if got != (want == "holds"):
        print(f"{scheme}, {what}: {'holds' if got else 'is refused'}")
        failed += 1
    checked += 1
print(f"{checked} vectors checked")
sys.exit(1 if failed else 0)
