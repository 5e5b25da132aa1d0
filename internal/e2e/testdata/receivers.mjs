// Receivers as products have them, with Node's own crypto: POST /NAME is checked by the receiver of that name, of which
// the argument is a JSON object {NAME: secret}. The first request to each is answered 500, so that a retry is seen.
// Prints where it listens, and a line of JSON for each request.
import { createHmac, createPublicKey, verify } from "node:crypto";
import { createServer } from "node:http";

const secrets = JSON.parse(process.argv[2]);
const hmac = (algorithm, secret, text, encoding) => createHmac(algorithm, secret).update(text).digest(encoding);

const receivers = {
  // As Twenty documents it: HMAC over timestamp:body, of the body as it came …
  twenty: (secret, headers, body) =>
    headers["x-twenty-webhook-signature"] === hmac("sha256", secret, `${headers["x-twenty-webhook-timestamp"]}:${body}`, "hex"),
  // … and of the body parsed and printed again, as its sample does.
  printed: (secret, headers, body) =>
    headers["x-twenty-webhook-signature"] ===
    hmac("sha256", secret, `${headers["x-twenty-webhook-timestamp"]}:${JSON.stringify(JSON.parse(body))}`, "hex"),
  hub: (secret, headers, body) => headers["x-hub-signature-256"] === `sha256=${hmac("sha256", secret, body, "hex")}`,
  stamped: (secret, headers, body) =>
    headers["x-signature"] === `v0=${hmac("sha512", secret, `v0:${headers["x-time"]}:${body}`, "base64")}`,
  pair: (secret, headers, body) => {
    const x = Buffer.from(secret.slice("whpk_".length), "base64").toString("base64url");
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    const signed = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`), body]);
    return headers["webhook-signature"]
      .split(" ")
      .some((s) => s.startsWith("v1a,") && verify(null, signed, key, Buffer.from(s.slice(4), "base64")));
  },
};

const seen = new Set();
const server = createServer(async (req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const name = req.url.slice(1);
  let holds = false;
  let error = "";
  try {
    holds = receivers[name](secrets[name], req.headers, body);
  } catch (e) {
    error = String(e);
  }
  const first = !seen.has(name);
  seen.add(name);
  res.writeHead(first ? 500 : 204).end();
  console.log(JSON.stringify({ name, first, holds, error, headers: req.headers, body: body.toString("utf8") }));
});
server.listen(0, "127.0.0.1", () => console.log(`listening http://127.0.0.1:${server.address().port}`));
