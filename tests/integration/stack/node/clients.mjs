// Drives the gateway with the official Node client and prints what it saw as one JSON object.
// Usage: SLIPWAY_URL=… SLIPWAY_API_KEY=… node clients.mjs CHAT_MODEL EMBEDDING_MODEL
import OpenAI from "openai";

const [chat, embed] = process.argv.slice(2);
const options = { baseURL: `${process.env.SLIPWAY_URL}/v1`, apiKey: process.env.SLIPWAY_API_KEY, maxRetries: 0 };
const client = new OpenAI(options);
const capital = [{ role: "user", content: "What is the capital of France?" }];
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};
const schema = { type: "object", properties: { big: { type: "boolean" } }, required: ["big"], additionalProperties: false };

const refusal = async (call) => {
  try {
    await call();
    return null;
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, code: error.code, param: error.param, id: error.requestID };
  }
};

const seen = {};

const answer = await client.chat.completions.create({ model: chat, messages: capital, temperature: 0 });
seen.chat = answer.choices[0].message.content;

seen.streamed = [];
for await (const chunk of await client.chat.completions.create({ model: chat, messages: capital, temperature: 0, stream: true }))
  seen.streamed.push(chunk.choices[0].delta.content ?? "");

const call = await client.chat.completions.create({
  model: chat,
  messages: [{ role: "user", content: "What is the weather in Paris?" }],
  tools: [weather],
  tool_choice: "required",
  temperature: 0,
  max_tokens: 80,
});
seen.tool = call.choices[0].message.tool_calls[0].function;

const shaped = await client.chat.completions.create({
  model: chat,
  messages: [{ role: "user", content: "Is Paris big? Answer as JSON." }],
  response_format: { type: "json_schema", json_schema: { name: "size", schema, strict: true } },
  temperature: 0,
  max_tokens: 40,
});
seen.shaped = JSON.parse(shaped.choices[0].message.content);

// The Node client asks for base64 unless told otherwise and decodes it by itself.
const embedding = await client.embeddings.create({ model: embed, input: ["a cat", "a kitten"] });
seen.embeddings = embedding.data.map((item) => item.embedding.length);

seen.models = (await client.models.list()).data.map((model) => model.id);

const stopped = await client.chat.completions.create({ model: chat, messages: capital, max_tokens: 1500, stream: true });
for await (const _ of stopped) {
  stopped.controller.abort();
  break;
}
seen.aborted = stopped.controller.signal.aborted;

const wrong = new OpenAI({ ...options, apiKey: "wrong" });
seen.wrongKey = await refusal(() => wrong.models.list());
seen.noModel = await refusal(() => client.chat.completions.create({ model: "no-such-model", messages: capital }));
seen.badParameter = await refusal(() => client.chat.completions.create({ model: chat, messages: capital, temperature: 99 }));
seen.timeout = await refusal(() =>
  client.chat.completions.create({ model: chat, messages: capital, max_tokens: 1500, ignore_eos: true }, { timeout: 300 }),
);

console.log(JSON.stringify(seen));
