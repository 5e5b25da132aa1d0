// The scheme hmac of a webhook whose signing is
//   {"scheme": "hmac", "header": "X-Signature", "prefix": "v0=", "template": "v0:{timestamp}:{body}",
//    "timestamp_header": "X-Signature-Timestamp"}
import { createHmac, timingSafeEqual } from "node:crypto";

const tolerance = 5 * 60; // seconds

// body is a Buffer of the bytes as they came; now is in milliseconds.
export function verifyHmac(secret, headers, body, now = Date.now()) {
  const timestamp = headers["x-signature-timestamp"] ?? "";
  if (!/^\d{1,15}$/.test(timestamp) || Math.abs(now / 1000 - Number(timestamp)) > tolerance) return false;
  const expected = Buffer.from("v0=" + createHmac("sha256", secret).update(`v0:${timestamp}:`).update(body).digest("hex"));
  const given = Buffer.from(headers["x-signature"] ?? "");
  return given.length === expected.length && timingSafeEqual(given, expected);
}
