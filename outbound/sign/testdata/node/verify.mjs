// Reads requests, one JSON object {secret, headers, body} a line with body in base64, and answers each with a line:
// {"payload": …} as the published package verified and parsed it, or {"error": "…"}.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  let answer;
  try {
    answer = { payload: new Webhook(secret).verify(Buffer.from(body, "base64").toString("utf8"), headers) };
  } catch (e) {
    answer = { error: String(e.message) };
  }
  console.log(JSON.stringify(answer));
}
