// Drives /v1/responses and /v1/messages with the official Node clients and prints what it saw as one JSON object.
// Usage: SLIPWAY_URL=… SLIPWAY_API_KEY=… node conversations.mjs CHAT_MODEL
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [model] = process.argv.slice(2);
const { SLIPWAY_URL: url, SLIPWAY_API_KEY: apiKey } = process.env;
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });
const question = "What is the capital of France?";
const weather = "What is the weather in Paris?";
const schema = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

const refusal = async (call) => {
  try {
    await call();
    return null;
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, id: error.requestID };
  }
};

const seen = { responses: {}, messages: {} };

// --- responses ---
const first = await openai.responses.create({ model, input: question, temperature: 0 });
seen.responses.text = first.output_text;

seen.responses.streamed = [];
seen.responses.events = [];
const stream = openai.responses.stream({ model, input: question, temperature: 0 });
for await (const event of stream) {
  seen.responses.events.push([event.sequence_number, event.type]);
  if (event.type === "response.output_text.delta") seen.responses.streamed.push(event.delta);
}
seen.responses.final = (await stream.finalResponse()).output_text;

const next = await openai.responses.create({
  model,
  input: "What did I ask?",
  previous_response_id: first.id,
  max_output_tokens: 8,
});
seen.responses.items = [];
for await (const item of openai.responses.inputItems.list(next.id, { order: "asc", limit: 1 }))
  seen.responses.items.push(item.role);

const called = await openai.responses.create({
  model,
  input: weather,
  tools: [{ type: "function", name: "get_weather", parameters: schema, strict: true }],
  tool_choice: "required",
  temperature: 0,
});
seen.responses.tool = called.output[0];

const queued = await openai.responses.create({ model, input: question, background: true, max_output_tokens: 1500 });
seen.responses.cancelled = [queued.status, (await openai.responses.cancel(queued.id)).status];
seen.responses.counted = (await openai.responses.inputTokens.count({ model, input: question })).input_tokens;
await openai.responses.delete(first.id);
seen.responses.deleted = await refusal(() => openai.responses.retrieve(first.id));

// --- messages ---
const messages = [{ role: "user", content: question }];
const answer = await anthropic.messages.create({ model, max_tokens: 40, messages, temperature: 0 });
seen.messages.text = answer.content[0].text;

seen.messages.streamed = [];
const told = anthropic.messages.stream({ model, max_tokens: 40, messages, temperature: 0 });
told.on("text", (text) => seen.messages.streamed.push(text));
seen.messages.final = await told.finalText();

const used = await anthropic.messages.create({
  model,
  max_tokens: 80,
  messages: [{ role: "user", content: weather }],
  tools: [{ name: "get_weather", input_schema: schema }],
  tool_choice: { type: "any" },
  temperature: 0,
});
seen.messages.tool = used.content[0];
seen.messages.counted = (await anthropic.messages.countTokens({ model, messages })).input_tokens;
seen.messages.models = [];
for await (const each of anthropic.models.list()) seen.messages.models.push(each.id);
seen.messages.noModel = await refusal(() => anthropic.messages.create({ model: "no", max_tokens: 4, messages }));
const wrong = new Anthropic({ baseURL: url, apiKey: "wrong", maxRetries: 0 });
seen.messages.wrongKey = await refusal(() => wrong.messages.create({ model, max_tokens: 4, messages }));

console.log(JSON.stringify(seen));
