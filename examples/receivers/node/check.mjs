// Checks the receivers against ../vectors.tsv: node check.mjs
import { readFileSync } from "node:fs";
import { verifyHmac } from "./hmac.mjs";
import { verifyStandard } from "./standard.mjs";
import { verifyStandardEd25519 } from "./standard_ed25519.mjs";
import { verifyToken } from "./token.mjs";
import { verifyTwenty } from "./twenty.mjs";

const verifiers = {
  standard: verifyStandard,
  "standard-ed25519": verifyStandardEd25519,
  twenty: verifyTwenty,
  hmac: verifyHmac,
  token: verifyToken,
};
const lines = readFileSync(new URL("../vectors.tsv", import.meta.url), "utf8").split("\n");
let checked = 0;
for (const line of lines) {
  if (!line || line.startsWith("#")) continue;
  const [what, scheme, want, now, secret, fields, body] = line.split("\t");
  const headers = {};
  for (const field of fields.split("|").filter(Boolean)) {
    const [name, value] = field.split("=", 1).concat(field.slice(field.indexOf("=") + 1));
    headers[name] = value;
  }
  let got;
  try {
    got = verifiers[scheme](secret, headers, Buffer.from(body), Number(now));
  } catch {
    got = false;
  }
  if (got !== (want === "holds")) {
    console.log(`${scheme}, ${what}: ${got ? "holds" : "is refused"}`);
    process.exitCode = 1;
  }
  checked++;
}
console.log(`${checked} vectors checked`);
