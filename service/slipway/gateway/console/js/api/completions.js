/** Chat completions, streamed. */

import { ApiError, call, fromEnvelope } from './request.js';
import { events } from './sse.js';

/**
 * @typedef {{kind: 'open', requestId: string | null}
 *   | {kind: 'text', text: string}
 *   | {kind: 'reasoning', text: string}
 *   | {kind: 'finish', reason: string}
 *   | {kind: 'usage', promptTokens: number, completionTokens: number}} ChatEvent
 */

/**
 * Asks for a chat completion and yields what comes, until the gateway says that it is done.
 * @param {Record<string, unknown>} body without `stream`
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<ChatEvent>}
 * @throws {ApiError} for an error answer, an error in the middle of the stream, and a stream that breaks off
 */
export async function* streamChat(body, signal) {
  const asked = { ...body, stream: true, stream_options: { include_usage: true } };
  const response = await call('v1/chat/completions', { body: asked, signal });
  const requestId = response.headers.get('x-request-id');
  yield { kind: 'open', requestId };
  if (!response.body) throw new ApiError('The gateway sent an empty answer.', { requestId });
  let complete = false;
  try {
    for await (const data of events(response.body)) {
      if (data === '[DONE]') return;
      for (const event of chunkEvents(parse(data, requestId), requestId)) {
        complete ||= event.kind === 'finish';
        yield event;
      }
    }
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) throw error;
    throw new ApiError('The connection broke before the answer was complete.', { requestId });
  }
  if (!complete) throw new ApiError('The answer ended before it was complete.', { requestId });
}

/**
 * @param {string} data
 * @param {string | null} requestId
 */
function parse(data, requestId) {
  try {
    return JSON.parse(data);
  } catch {
    throw new ApiError('The gateway sent a piece of the answer that is not JSON.', { requestId });
  }
}

/**
 * @param {any} chunk
 * @param {string | null} requestId
 * @returns {Generator<ChatEvent>}
 */
function* chunkEvents(chunk, requestId) {
  if (chunk.error) throw fromEnvelope(chunk.error, { requestId });
  const choice = chunk.choices?.[0];
  const reasoning = choice?.delta?.reasoning_content ?? choice?.delta?.reasoning;
  if (reasoning) yield { kind: 'reasoning', text: reasoning };
  if (choice?.delta?.content) yield { kind: 'text', text: choice.delta.content };
  if (choice?.finish_reason) yield { kind: 'finish', reason: choice.finish_reason };
  if (chunk.usage)
    yield {
      kind: 'usage',
      promptTokens: chunk.usage.prompt_tokens,
      completionTokens: chunk.usage.completion_tokens,
    };
}
