// A receiver: POST /standard, /standard-ed25519, /twenty, /twenty-parsed, /hmac or /token. It answers 204 when the
// request is genuine and 401 when it is not. The secrets are in the environment.
import { createServer } from "node:http";
import { verifyHmac } from "./hmac.mjs";
import { verifyStandard } from "./standard.mjs";
import { verifyStandardEd25519 } from "./standard_ed25519.mjs";
import { verifyToken } from "./token.mjs";
import { verifyTwenty, verifyTwentyParsed } from "./twenty.mjs";

const { STANDARD_SECRET, STANDARD_PUBLIC_KEY, TWENTY_SECRET, HMAC_SECRET, TOKEN, PORT = "0" } = process.env;
const maxBody = 1 << 20;

const routes = {
  "/standard": (headers, body) => verifyStandard(STANDARD_SECRET, headers, body),
  "/standard-ed25519": (headers, body) => verifyStandardEd25519(STANDARD_PUBLIC_KEY, headers, body),
  "/twenty": (headers, body) => verifyTwenty(TWENTY_SECRET, headers, body),
  "/twenty-parsed": (headers, body) => verifyTwentyParsed(TWENTY_SECRET, headers, JSON.parse(body)),
  "/hmac": (headers, body) => verifyHmac(HMAC_SECRET, headers, body),
  "/token": (headers) => verifyToken(TOKEN, headers),
};

async function status(req) {
  const verify = Object.hasOwn(routes, req.url) ? routes[req.url] : null;
  if (req.method !== "POST" || !verify) return 404;
  const chunks = [];
  let size = 0;
  for await (const chunk of req) {
    size += chunk.length;
    if (size > maxBody) return 413;
    chunks.push(chunk);
  }
  try {
    return verify(req.headers, Buffer.concat(chunks)) ? 204 : 401;
  } catch {
    return 401; // not what the scheme looks like
  }
}

const server = createServer(async (req, res) => res.writeHead(await status(req)).end());
server.listen(Number(PORT), "127.0.0.1", () => console.log(`listening http://127.0.0.1:${server.address().port}`));
