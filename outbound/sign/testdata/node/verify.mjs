// Reads requests, one JSON object {scheme, secret, headers, body} a line with body in base64, and answers each with a
// line: {"payload": …} as verified and parsed, or {"error": "…"}. The scheme is the name of a receiver below; the
// default is standard.
import { createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

const receivers = {
  // The published package.
  standard(secret, headers, body) {
    return new Webhook(secret).verify(body.toString("utf8"), headers);
  },

  // Standard Webhooks' asymmetric signatures by Node's own Ed25519: the package has none. The secret is the public key.
  v1a(secret, headers, body) {
    const x = Buffer.from(secret.slice("whpk_".length), "base64").toString("base64url");
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    const signed = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`), body]);
    const holds = headers["webhook-signature"].split(" ").some((field) => {
      const [version, signature] = field.split(",");
      return version === "v1a" && verify(null, signed, key, Buffer.from(signature, "base64"));
    });
    if (!holds) throw new Error("no matching signature");
    return JSON.parse(body);
  },

  // A receiver of Twenty's webhooks over the body as it came.
  twenty(secret, headers, body) {
    checkTwenty(secret, headers, body);
    return JSON.parse(body);
  },

  // One that has the body parsed by its framework, and prints it again to check the signature.
  "twenty-printed"(secret, headers, body) {
    const payload = JSON.parse(body);
    checkTwenty(secret, headers, JSON.stringify(payload));
    return payload;
  },
};

function checkTwenty(secret, headers, body) {
  const expected = createHmac("sha256", secret)
    .update(`${headers["X-Twenty-Webhook-Timestamp"]}:${body}`)
    .digest("hex");
  const given = headers["X-Twenty-Webhook-Signature"];
  if (given.length !== expected.length || !timingSafeEqual(Buffer.from(given), Buffer.from(expected))) {
    throw new Error("no matching signature");
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { scheme = "standard", secret, headers, body } = JSON.parse(line);
  let answer;
  try {
    answer = { payload: receivers[scheme](secret, headers, Buffer.from(body, "base64")) };
  } catch (e) {
    answer = { error: String(e.message) };
  }
  console.log(JSON.stringify(answer));
}
