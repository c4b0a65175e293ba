// Verifies webhook calls with libraries that know nothing of this project: npm's openai and standardwebhooks, and for Ed25519 Node itself.
//   node webhooks.mjs < CALLS     a JSON list of {secret, public_key, headers, body}
// Ends with code 0 when every call verifies, and a tampered one does not.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import OpenAI from "openai";
import { Webhook } from "standardwebhooks";

const client = new OpenAI({ apiKey: "none" });
let text = "";
for await (const part of process.stdin) text += part;

for (const { secret, public_key, headers, body } of JSON.parse(text)) {
  if (public_key) {
    const raw = Buffer.from(public_key.slice("whpk_".length), "base64");
    const key = crypto.createPublicKey({ format: "jwk", key: { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") } });
    const content = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
    const signatures = headers["webhook-signature"].split(" ").filter((one) => one.startsWith("v1a,"));
    const verifies = (data) => signatures.some((one) => crypto.verify(null, data, key, Buffer.from(one.slice(4), "base64")));
    assert.ok(verifies(content));
    assert.ok(!verifies(Buffer.concat([content, Buffer.from(" ")])));
    continue;
  }

  const event = await client.webhooks.unwrap(body, headers, secret);
  assert.deepEqual(event, new Webhook(secret).verify(body, headers));
  assert.equal(event.id, headers["webhook-id"]);
  await assert.rejects(client.webhooks.unwrap(`${body} `, headers, secret));
  assert.throws(() => new Webhook(secret).verify(`${body} `, headers));
  if (event.type.startsWith("batch.")) assert.match(event.data.id, /^batch_/);
  console.log(`${event.type} verified`);
}

console.log("every call held");
