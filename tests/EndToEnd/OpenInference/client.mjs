// A client of the Open Inference Protocol, version 2, written from its specification and Triton's binary tensor data extension alone:
// it knows an address, a key and a model's name, and learns everything else from the server.
// usage: node client.mjs ADDRESS KEY MODEL TEXT…     prints one JSON object: the outputs as JSON and as binary data gave them

const [address, key, model, ...texts] = process.argv.slice(2);
const authorization = { Authorization: `Bearer ${key}` };
const sizes = { BOOL: 1, UINT8: 1, INT8: 1, UINT16: 2, INT16: 2, FP16: 2, UINT32: 4, INT32: 4, FP32: 4, UINT64: 8, INT64: 8, FP64: 8 };

function expect(isSo, what) {
  if (!isSo) throw new Error(what);
}

async function get(path, headers = authorization) {
  const reply = await fetch(new URL(path, address), { headers });
  return { status: reply.status, body: await reply.json() };
}

// Sends again where the server is busy, as Retry-After asks.
async function infer(body, headers) {
  for (let tries = 0; ; tries++) {
    const reply = await fetch(new URL(`v2/models/${model}/infer`, address), {
      method: "POST",
      headers: { ...authorization, ...headers },
      body,
    });
    if (reply.status !== 429 || tries === 30) return reply;
    await reply.arrayBuffer();
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(reply.headers.get("retry-after") ?? 1)));
  }
}

function bytesOf(strings) {
  return Buffer.concat(
    strings.flatMap((text) => {
      const bytes = Buffer.from(text, "utf8");
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
}

function readTensor(output, binary) {
  const count = output.shape.reduce((product, dim) => product * dim, 1);
  if (output.datatype === "BYTES") {
    const strings = [];
    for (let at = 0; at < binary.length; ) {
      const length = binary.readUInt32LE(at);
      strings.push(binary.toString("utf8", at + 4, at + 4 + length));
      at += 4 + length;
    }
    expect(strings.length === count, `${output.name} has ${strings.length} elements for the shape [${output.shape}]`);
    return strings;
  }
  expect(output.datatype === "FP32", `${output.name} is ${output.datatype}, which this client does not read`);
  expect(binary.length === count * sizes.FP32, `${output.name} has ${binary.length} bytes for the shape [${output.shape}]`);
  return Array.from({ length: count }, (_, i) => binary.readFloatLE(i * 4));
}

async function readAnswer(reply) {
  const body = Buffer.from(await reply.arrayBuffer());
  expect(reply.status === 200, `infer answered ${reply.status}: ${body}`);
  const header = reply.headers.get("inference-header-content-length");
  let at = header === null ? body.length : Number(header);
  const answer = JSON.parse(body.toString("utf8", 0, at));
  for (const output of answer.outputs) {
    const size = output.parameters?.binary_data_size;
    if (size !== undefined) {
      output.data = readTensor(output, body.subarray(at, at + size));
      at += size;
    }
  }
  expect(at === body.length, `${body.length - at} bytes follow the last tensor`);
  return answer;
}

const server = await get("v2");
expect(server.status === 200 && server.body.extensions.includes("binary_tensor_data"), "the server has no binary extension");
expect((await get("v2/health/live", {})).status === 200, "the server does not live");
expect((await get("v2/health/ready", {})).status === 200, "the server is not ready");
for (let tries = 0; (await get(`v2/models/${model}/ready`)).status !== 200; tries++) {
  expect(tries < 100, `${model} does not become ready`);
  await new Promise((resolve) => setTimeout(resolve, 200));
}

const { body: metadata } = await get(`v2/models/${model}`);
expect(metadata.name === model && metadata.versions.length > 0 && metadata.platform === "onnx_onnxv1", JSON.stringify(metadata));
const [input] = metadata.inputs;
expect(input.datatype === "BYTES" && input.shape.length === 1 && input.shape[0] === -1, JSON.stringify(input));

const tensor = { name: input.name, datatype: input.datatype, shape: [texts.length] };
const asJson = await readAnswer(
  await infer(JSON.stringify({ id: "as json", inputs: [{ ...tensor, data: texts }] }), { "Content-Type": "application/json" }),
);
expect(asJson.id === "as json" && asJson.model_name === model && metadata.versions.includes(asJson.model_version), "another answer");
expect(metadata.outputs.every((output, i) => output.name === asJson.outputs[i].name), "other outputs than the metadata's");

const data = bytesOf(texts);
const json = Buffer.from(
  JSON.stringify({
    id: "as binary",
    parameters: { binary_data_output: true, priority: 2, timeout: 20_000_000 },
    inputs: [{ ...tensor, parameters: { binary_data_size: data.length } }],
  }),
);
const asBinary = await readAnswer(
  await infer(Buffer.concat([json, data]), {
    "Content-Type": "application/octet-stream",
    "Inference-Header-Content-Length": String(json.length),
  }),
);
expect(asBinary.id === "as binary", "the id did not come back");
expect(asBinary.outputs.every((output) => output.parameters.binary_data_size > 0), "an output came as JSON");

const unknown = await get("v2/models/nobody");
expect(unknown.status === 404 && typeof unknown.body.error === "string", JSON.stringify(unknown));
const bad = await infer(JSON.stringify({ inputs: [{ ...tensor, shape: [texts.length + 1], data: texts }] }), {});
const refusal = await bad.json();
expect(bad.status === 400 && typeof refusal.error === "string", JSON.stringify(refusal));

console.log(JSON.stringify({ json: asJson.outputs, binary: asBinary.outputs }));
