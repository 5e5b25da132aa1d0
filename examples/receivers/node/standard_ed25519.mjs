// Standard Webhooks, v1a: Ed25519. The receiver has the public key whpk_… alone, which is no secret.
import { createPublicKey, verify } from "node:crypto";

const tolerance = 5 * 60; // seconds

// body is a Buffer of the bytes as they came; now is in milliseconds.
export function verifyStandardEd25519(publicKey, headers, body, now = Date.now()) {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures } = headers;
  if (!id || !signatures || !/^\d{1,15}$/.test(timestamp ?? "")) return false;
  if (Math.abs(now / 1000 - Number(timestamp)) > tolerance) return false;
  const x = Buffer.from(publicKey.replace(/^whpk_/, ""), "base64").toString("base64url");
  const key = createPublicKey({ format: "jwk", key: { kty: "OKP", crv: "Ed25519", x } });
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  return signatures
    .split(" ")
    .some((field) => field.startsWith("v1a,") && verify(null, signed, key, Buffer.from(field.slice(4), "base64")));
}
