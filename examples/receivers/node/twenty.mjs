// Twenty: hex HMAC-SHA256 over timestamp:body. The timestamp is in milliseconds.
import { createHmac, timingSafeEqual } from "node:crypto";

const tolerance = 5 * 60 * 1000; // milliseconds

// body is a Buffer of the bytes as they came; now is in milliseconds.
export function verifyTwenty(secret, headers, body, now = Date.now()) {
  const timestamp = headers["x-twenty-webhook-timestamp"] ?? "";
  if (!/^\d{1,15}$/.test(timestamp) || Math.abs(now - Number(timestamp)) > tolerance) return false;
  const expected = createHmac("sha256", secret).update(`${timestamp}:`).update(body).digest();
  const given = Buffer.from(headers["x-twenty-webhook-signature"] ?? "", "hex");
  return given.length === expected.length && timingSafeEqual(given, expected);
}

// For a framework that hands over the parsed payload only: print it again, as Twenty's own sample does. Checking the
// bytes as they came is better where you have them.
export function verifyTwentyParsed(secret, headers, payload, now = Date.now()) {
  return verifyTwenty(secret, headers, Buffer.from(JSON.stringify(payload)), now);
}
