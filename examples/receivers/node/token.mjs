// A secret in a header of the webhook's own, here X-Webhook-Token, for receivers that check no signature.
import { createHash, timingSafeEqual } from "node:crypto";

const digest = (text) => createHash("sha256").update(text).digest();

export function verifyToken(secret, headers) {
  return timingSafeEqual(digest(headers["x-webhook-token"] ?? ""), digest(secret));
}
