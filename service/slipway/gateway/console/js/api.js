/** The gateway's OpenAI-compatible API, as far as the console uses it. */

import { events } from './sse.js';

/** What went wrong, in words for a person, with what the gateway said about it. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, type?: string | null, code?: string | null, param?: string | null,
   *          requestId?: string | null, retryAfter?: number | null}} [details] retryAfter in seconds
   */
  constructor(message, details = {}) {
    super(message);
    this.name = 'ApiError';
    this.status = details.status ?? 0;
    this.type = details.type ?? null;
    this.code = details.code ?? null;
    this.param = details.param ?? null;
    this.requestId = details.requestId ?? null;
    this.retryAfter = details.retryAfter ?? null;
  }
}

/**
 * @typedef {{kind: 'open', requestId: string | null}
 *   | {kind: 'text', text: string}
 *   | {kind: 'reasoning', text: string}
 *   | {kind: 'finish', reason: string}
 *   | {kind: 'usage', promptTokens: number, completionTokens: number}} ChatEvent
 */

/** The address of a path of this gateway. @param {string} path */
export const address = (path) => new URL(path, document.baseURI).href;

/** @param {string} key */
const authorization = (key) => (key ? { authorization: `Bearer ${key}` } : undefined);

/**
 * The models that can chat. A model that says another task than `generate` (an embedding model) is left out.
 * @param {string} key
 * @returns {Promise<string[]>}
 */
export async function listModels(key) {
  const response = await request('v1/models', { headers: authorization(key) });
  const { data } = await response.json();
  return data
    .filter((/** @type {any} */ model) => !model.task || model.task === 'generate')
    .map((/** @type {any} */ model) => model.id);
}

/**
 * Asks for a chat completion and yields what comes, until the gateway says that it is done.
 * @param {Record<string, unknown>} body without `stream`
 * @param {{key: string, signal: AbortSignal}} options
 * @returns {AsyncGenerator<ChatEvent>}
 * @throws {ApiError} for an error answer, an error in the middle of the stream, and a stream that breaks off
 */
export async function* streamChat(body, { key, signal }) {
  const response = await request('v1/chat/completions', {
    method: 'POST',
    headers: { ...authorization(key), 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
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

/**
 * @param {string} path
 * @param {RequestInit} options
 */
async function request(path, options) {
  let response;
  try {
    response = await fetch(address(path), { ...options, credentials: 'omit' });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError('The gateway cannot be reached. Is it still running?', { code: 'unreachable' });
  }
  if (response.ok) return response;
  const requestId = response.headers.get('x-request-id');
  const retryAfter = Number(response.headers.get('retry-after')) || null;
  const body = await response.json().catch(() => null);
  throw fromEnvelope(body?.error, { status: response.status, requestId, retryAfter });
}

/**
 * @param {any} error the inside of OpenAI's envelope, if there was one
 * @param {{status?: number, requestId: string | null, retryAfter?: number | null}} details
 */
function fromEnvelope(error, details) {
  const message =
    error?.message || `The gateway answered ${details.status ?? 'with an error'} and did not say why.`;
  const code = error?.code === undefined || error?.code === null ? null : String(error.code);
  return new ApiError(message, { ...details, type: error?.type, code, param: error?.param });
}
