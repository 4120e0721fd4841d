/** Gets one answer: asks, fills the variant as pieces come, measures, and turns what goes wrong into words. */

import { ApiError, streamChat } from './api.js';
import { ThoughtSplitter } from './thinking.js';

/** How often a request is sent again by itself while its model starts. */
const MOST_STARTS = 5;

/**
 * @typedef {object} Watcher
 * @property {(text: string) => void} text
 * @property {(text: string) => void} reasoning
 */

/**
 * @param {import('./conversation.js').Variant} variant filled in place
 * @param {Record<string, unknown>} body
 * @param {object} options
 * @param {string} options.key
 * @param {AbortSignal} options.signal
 * @param {Watcher} options.watcher
 * @param {(signal: AbortSignal) => Promise<boolean>} options.modelReady resolves when a model that was starting is
 *   ready (true), or at once when it was not starting (false)
 */
export async function answer(variant, body, { key, signal, watcher, modelReady }) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await stream(variant, body, { key, signal, watcher });
    } catch (error) {
      if (signal.aborted) variant.stopped = true;
      else if (startedTooEarly(error, variant) && attempt < MOST_STARTS && (await modelReady(signal)))
        continue;
      else if (signal.aborted) variant.stopped = true;
      else variant.error = describe(error, variant);
    }
    return;
  }
}

/**
 * @param {import('./conversation.js').Variant} variant
 * @param {Record<string, unknown>} body
 * @param {{key: string, signal: AbortSignal, watcher: Watcher}} options
 */
async function stream(variant, body, { key, signal, watcher }) {
  const splitter = new ThoughtSplitter();
  const asked = performance.now();
  let first = 0;
  /** @param {{reasoning: string, text: string}} piece */
  const take = ({ reasoning, text }) => {
    variant.reasoning += reasoning;
    variant.content += text;
    if (reasoning) watcher.reasoning(reasoning);
    if (text) watcher.text(text);
  };
  try {
    for await (const event of streamChat(body, { key, signal })) {
      if (event.kind === 'text' || event.kind === 'reasoning') {
        const now = performance.now();
        first ||= now;
        variant.firstTokenMs ??= now - asked;
        variant.streamMs = now - first;
        variant.pieces += 1;
        take(event.kind === 'text' ? splitter.push(event.text) : { reasoning: event.text, text: '' });
      } else if (event.kind === 'open') variant.requestId = event.requestId;
      else if (event.kind === 'finish') variant.finish = event.reason;
      else variant.tokens = event.completionTokens;
    }
  } finally {
    take(splitter.finish());
  }
}

/**
 * @param {unknown} error
 * @param {import('./conversation.js').Variant} variant
 */
const startedTooEarly = (error, variant) =>
  error instanceof ApiError && error.status === 503 && !variant.content && !variant.reasoning;

/**
 * @param {unknown} error
 * @param {import('./conversation.js').Variant} variant
 */
function describe(error, variant) {
  if (!(error instanceof ApiError)) {
    console.error(error);
    return {
      message: `The console could not show the answer: ${error}`,
      status: 0,
      code: null,
      retryAfter: null,
    };
  }
  variant.requestId = error.requestId ?? variant.requestId;
  return { message: error.message, status: error.status, code: error.code, retryAfter: error.retryAfter };
}
