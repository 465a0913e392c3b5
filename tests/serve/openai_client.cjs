// Calls a server through the npm package openai, and prints what comes back as JSON.
// node openai_client.cjs URL FILE
const fs = require("node:fs");
const { OpenAI, NotFoundError, BadRequestError } = require("openai");

const [url, path] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const create = (fields) =>
  client.audio.transcriptions.create({
    file: fs.createReadStream(path), model: "whisper-1", language: "en", temperature: 1, vad_filter: false, ...fields,
  });
const failed = async (fields, kind) => {
  try {
    await create(fields);
  } catch (error) {
    return { isOfItsKind: error instanceof kind, status: error.status, code: error.code, param: error.param };
  }
};

async function main() {
  const events = [];
  for await (const event of await create({ stream: true })) events.push(event);
  return {
    models: (await client.models.list()).data.map((model) => model.id),
    json: await create({}),
    verbose: await create({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"] }),
    srt: await create({ response_format: "srt" }),
    logprobs: (await create({ include: ["logprobs"] })).logprobs,
    translation: await client.audio.translations.create({ file: fs.createReadStream(path), model: "whisper-1" }),
    events,
    unknown: await failed({ model: "whisper-9" }, NotFoundError),
    refused: await failed({ response_format: "diarized_json" }, BadRequestError),
  };
}

main().then((found) => console.log(JSON.stringify(found)));
