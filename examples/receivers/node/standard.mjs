// Standard Webhooks, v1: HMAC-SHA256 with a secret whsec_… that sender and receiver share.
import { createHmac, timingSafeEqual } from "node:crypto";

const tolerance = 5 * 60; // seconds

// body is a Buffer of the bytes as they came; now is in milliseconds.
export function verifyStandard(secret, headers, body, now = Date.now()) {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures } = headers;
  if (!id || !signatures || !/^\d{1,15}$/.test(timestamp ?? "")) return false;
  if (Math.abs(now / 1000 - Number(timestamp)) > tolerance) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const expected = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest();
  // While a secret rotates there are several signatures, separated by spaces. One that holds is enough.
  return signatures.split(" ").some((field) => {
    const given = Buffer.from(field.startsWith("v1,") ? field.slice(3) : "", "base64");
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}
