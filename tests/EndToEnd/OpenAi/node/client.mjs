// OpenAI's own client for Node, unchanged, against a running system:
//   node client.mjs BASE_URL API_KEY EMBEDDING_MODEL LABELS_MODEL LIMITED_BASE_URL OPERATOR_KEY
// Ends with code 0 when everything held.
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

const [baseURL, apiKey, embedder, labeller, limitedURL, operatorKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey });
const once = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const operator = new OpenAI({ baseURL, apiKey: operatorKey });

const line = (id, input, more = {}) =>
  JSON.stringify({ custom_id: id, method: "POST", url: "/v1/embeddings", body: { model: embedder, input, ...more } });

const upload = async (lines, name = "in.jsonl") =>
  client.files.create({ file: await toFile(Buffer.from(lines.join("\r\n") + "\r\n"), name), purpose: "batch" });

const isEnd = (batch) => ["completed", "failed", "expired", "cancelled"].includes(batch.status);

async function until(id, isDone) {
  for (const end = Date.now() + 120_000; Date.now() < end; ) {
    const { data, response } = await client.batches.retrieve(id).withResponse();
    if (isDone(data)) return data;
    assert.ok(!isEnd(data), `batch ${id} ended otherwise: ${JSON.stringify(data)}`);
    assert.ok(Number(response.headers.get("retry-after")) >= 1, "an unfinished batch says when to look again");
    await new Promise((go) => setTimeout(go, 100));
  }
  throw new Error(`batch ${id} did not end`);
}

const create = (file, more = {}) =>
  client.batches.create({ input_file_id: file.id, endpoint: "/v1/embeddings", completion_window: "24h", ...more });

// A batch of a model that operators hold: at the end of this script its time is over. It is small, so that any forecast lets it in.
const hold = `/holds/model/${labeller}`;
const { in_force: inForce } = await operator.put(hold, { body: { reason: "a batch has to wait until its time is over" } });
assert.ok(inForce, "the scheduler answers that it knows of the hold");
const many = Array.from({ length: 1_000 }, (_, i) => JSON.stringify({ custom_id: `e-${i}`, method: "POST", url: "/v1/moderations", body: { model: labeller, input: `text ${i}` } }));
const expiring = await create(await upload(many), { endpoint: "/v1/moderations", completion_window: "10s" });
await until(expiring.id, (batch) => batch.status === "in_progress");

// Files: a name of any kind, list by pages, content by range, delete.
const strange = await upload([line("x", "hello")], 'größe "1".txt');
assert.equal(strange.filename, 'größe "1".txt');
assert.equal((await client.files.retrieve(strange.id)).bytes, strange.bytes);
const others = [await upload([line("y", "a")]), await upload([line("z", "b")])];
const seen = [];
for await (const file of client.files.list({ limit: 2, purpose: "batch" })) seen.push(file.id);
for (const file of [strange, ...others]) assert.ok(seen.includes(file.id), "a list page was skipped");
const whole = await (await client.files.content(strange.id)).text();
assert.equal(whole, line("x", "hello") + "\r\n");
const ranged = await client.files.content(strange.id, { headers: { range: "bytes=2-11" } });
assert.equal(ranged.status, 206);
assert.equal(await ranged.text(), whole.slice(2, 12));
assert.deepEqual(await client.files.delete(strange.id), { id: strange.id, object: "file", deleted: true });
await assert.rejects(once.files.retrieve(strange.id), (e) => e instanceof OpenAI.NotFoundError && e.code === "file_not_found" && !!e.requestID);

// A batch from upload to download, with lines of several inputs and both encodings.
const input = await upload([line("one", "alpha"), line("two", ["beta", "gamma"], { encoding_format: "base64" }), line("tokens", [97, 98, 99])]);
const made = await create(input, { metadata: { team: "search" } });
assert.equal(made.status, "validating");
const done = await until(made.id, isEnd);
assert.equal(done.status, "completed", JSON.stringify(done));
assert.deepEqual(done.request_counts, { total: 3, completed: 3, failed: 0 });
assert.equal(done.metadata.team, "search");
assert.ok(done.usage.total_tokens > 0 && done.error_file_id === null && done.completed_at >= done.created_at);
const output = (await (await client.files.content(done.output_file_id)).text()).trim().split("\n").map((text) => JSON.parse(text));
assert.deepEqual(output.map((o) => o.custom_id).sort(), ["one", "tokens", "two"]);
const of = (id) => output.find((o) => o.custom_id === id).response;
assert.equal(of("one").status_code, 200);
assert.equal(of("one").body.data[0].embedding.length, 64);
assert.deepEqual(of("two").body.data.map((d) => [d.index, typeof d.embedding]), [[0, "string"], [1, "string"]]);
assert.equal(of("one").body.service_tier, "flex");
assert.equal((await client.files.retrieve(done.output_file_id)).purpose, "batch_output");

// Bad lines: the batch fails as a whole, with every one of them.
const bad = await until((await create(await upload([
  line("a", "good"),
  line("a", "same id"),
  "{not json",
  JSON.stringify({ custom_id: "m", method: "GET", url: "/v1/embeddings", body: { model: embedder, input: "x" } }),
  JSON.stringify({ custom_id: "u", method: "POST", url: "/v1/moderations", body: { model: embedder, input: "x" } }),
  JSON.stringify({ custom_id: "o", method: "POST", url: "/v1/embeddings", body: { model: labeller, input: "x" } }),
  line("e", ""),
  line("t", [1, 2, 999]),
]))).id, isEnd);
assert.equal(bad.status, "failed");
assert.deepEqual(bad.errors.data.map((e) => [e.line, e.code]), [
  [2, "duplicate_custom_id"], [3, "invalid_json_line"], [4, "invalid_method"], [5, "invalid_url"], [6, "mismatched_model"], [7, "empty_input"], [8, "invalid_token"],
]);

// Retries of a create make no second batch: by header, and by the metadata key.
const again = await upload([line("r", "once")]);
const body = { input_file_id: again.id, endpoint: "/v1/embeddings", completion_window: "2h" };
const key = { headers: { "Idempotency-Key": `node-${again.id}` } };
const [first, second] = [await client.batches.create(body, key), await client.batches.create(body, key)];
assert.equal(first.id, second.id);
const named = { ...body, metadata: { idempotency_key: `node-meta-${again.id}` } };
assert.equal((await client.batches.create(named)).id, (await client.batches.create(named)).id);
await assert.rejects(once.batches.create({ ...body, completion_window: "3h" }, key), (e) => e instanceof OpenAI.UnprocessableEntityError);

// Cancel, list by pages.
const long = await create(await upload(Array.from({ length: 3000 }, (_, i) => line(`l-${i}`, `a text to be cancelled ${i} `.repeat(5)))));
assert.ok(["cancelling", "cancelled"].includes((await client.batches.cancel(long.id)).status));
const cancelled = await until(long.id, isEnd);
assert.equal(cancelled.status, "cancelled");
assert.ok(cancelled.cancelled_at >= cancelled.cancelling_at);
const batches = [];
for await (const batch of client.batches.list({ limit: 2 })) batches.push(batch.id);
for (const batch of [made, bad, first, long]) assert.ok(batches.includes(batch.id));
assert.equal(new Set(batches).size, batches.length);

// Answers while waiting.
const texts = ["The moon is far.", "Der Mond ist weit."];
const floats = await client.embeddings.create({ model: embedder, input: texts, encoding_format: "float" });
const packed = await client.embeddings.create({ model: embedder, input: texts });
assert.equal(floats.data.length, 2);
for (let i = 0; i < 2; i++) {
  assert.equal(packed.data[i].embedding.length, 64);
  packed.data[i].embedding.forEach((x, n) => assert.ok(Math.abs(x - floats.data[i].embedding[n]) < 1e-3));
}
assert.equal(floats.usage.prompt_tokens, texts.join("").length);
assert.ok(["priority", "default"].includes(floats.service_tier));
const tokens = await client.embeddings.create({ model: embedder, input: [...Buffer.from(texts[0])], encoding_format: "float" });
tokens.data[0].embedding.forEach((x, n) => assert.ok(Math.abs(x - floats.data[0].embedding[n]) < 1e-3));
// As many inputs as OpenAI takes; sent again under its key it is the same work, with another body a mistake.
const lots = { model: embedder, input: Array.from({ length: 2048 }, (_, i) => `text ${i % 100}`), service_tier: "default" };
const keyed = { headers: { "Idempotency-Key": `lots-${strange.id}` } };
const { data: all, response: ran } = await client.embeddings.create(lots, keyed).withResponse();
assert.deepEqual([all.data.length, all.data[2047].index, ran.headers.get("idempotency-replayed")], [2048, 2047, null]);
all.data[2001].embedding.forEach((x, n) => assert.ok(Math.abs(x - all.data[1].embedding[n]) < 1e-3));
const { data: replayed, response: told } = await client.embeddings.create(lots, keyed).withResponse();
assert.deepEqual([replayed, told.headers.get("idempotency-replayed")], [all, "true"]);
await assert.rejects(once.embeddings.create({ ...lots, input: "another" }, keyed), (e) => e instanceof OpenAI.UnprocessableEntityError);
const models = [];
for await (const model of client.models.list()) models.push(model.id);
assert.ok(models.some((id) => id.startsWith(`${embedder}@`)));
assert.ok((await client.models.retrieve(embedder)).id.startsWith(embedder));

// Errors come as the client's own types.
const rejects = (call, type, code) => assert.rejects(call, (e) => e instanceof type && (code === undefined || e.code === code) || assert.fail(`${e} ${e.code}`));
await rejects(once.embeddings.create({ model: embedder, input: "" }), OpenAI.BadRequestError, "invalid_input");
await rejects(once.embeddings.create({ model: embedder, input: [256] }), OpenAI.BadRequestError);
await rejects(once.embeddings.create({ model: embedder, input: "x", dimensions: 3 }), OpenAI.BadRequestError);
await rejects(once.embeddings.create({ model: embedder, input: "x", encoding_format: "int8" }), OpenAI.BadRequestError);
await rejects(once.embeddings.create({ model: embedder, input: Array(2049).fill("x") }), OpenAI.BadRequestError);
await rejects(once.embeddings.create({ model: "no-such", input: "x" }), OpenAI.NotFoundError, "model_not_found");
await rejects(once.batches.create({ ...body, input_file_id: "file-00000000000000000000000000000000" }), OpenAI.NotFoundError, "file_not_found");
await rejects(once.batches.create({ ...body, completion_window: "24 hours" }), OpenAI.BadRequestError);
await rejects(once.batches.retrieve("batch_nothing"), OpenAI.NotFoundError, "batch_not_found");
await rejects(new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 }).models.list(), OpenAI.AuthenticationError, "invalid_api_key");
await rejects(client.batches.cancel(done.id), OpenAI.ConflictError, "invalid_state");
const limited = (maxRetries) => new OpenAI({ baseURL: limitedURL, apiKey, maxRetries });
const four = (client) => Promise.all(Array.from({ length: 4 }, () => client.embeddings.create({ model: embedder, input: "x" })));
await rejects(four(limited(0)), OpenAI.RateLimitError, "rate_limited");
assert.equal((await four(limited(8))).length, 4, "Retry-After brings a patient client through");
await rejects(once.files.create({ file: await toFile(Buffer.from("x"), "x"), purpose: "nothing" }), OpenAI.BadRequestError);
await rejects(once.chat.completions.create({ model: embedder, messages: [] }), OpenAI.NotFoundError, "route_not_found");

// What was not done in its window is told line by line.
const expired = await until(expiring.id, isEnd);
assert.equal(expired.status, "expired", JSON.stringify(expired));
assert.deepEqual(expired.request_counts, { total: many.length, completed: 0, failed: many.length });
const late = (await (await client.files.content(expired.error_file_id)).text()).trim().split("\n").map((text) => JSON.parse(text));
assert.equal(late.length, many.length);
assert.ok(late.every((l) => l.response === null && l.error.code === "batch_expired"));

// What expired is sent again as a batch of its own, with more time, once however often it is asked.
await rejects(once.post(`/batches/${expired.id}/retry-failed?completion_window=soon`), OpenAI.BadRequestError);
await operator.delete(hold);
const moderation = await client.moderations.create({ model: labeller, input: texts });
assert.equal(moderation.results.length, 2);
assert.ok(moderation.results[0].category_scores.en > 0.5 && moderation.results[1].category_scores.de > 0.5);
await rejects(once.embeddings.create({ model: labeller, input: "x" }), OpenAI.BadRequestError);
const sameKey = { headers: { "Idempotency-Key": `retry-${expired.id}` }, query: { completion_window: "1h" } };
const retried = await client.post(`/batches/${expired.id}/retry-failed`, sameKey);
assert.equal((await client.post(`/batches/${expired.id}/retry-failed`, sameKey)).id, retried.id);
assert.deepEqual([retried.metadata.retry_of, retried.completion_window], [expired.id, "1h"]);
const lines = (await (await client.files.content(retried.input_file_id)).text()).trim().split("\n").map((text) => JSON.parse(text));
assert.deepEqual(lines.map((l) => l.custom_id).sort(), late.map((l) => l.custom_id).sort());
const mended = await until(retried.id, isEnd);
assert.deepEqual([mended.status, mended.request_counts.completed], ["completed", many.length]);
await assert.rejects(once.post(`/batches/${done.id}/retry-failed`), (e) => e instanceof OpenAI.ConflictError && e.code === "invalid_state");
console.log("every call held");
