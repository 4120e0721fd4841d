/** Gets one answer: asks, fills the turn as pieces come, measures, and turns what goes wrong into words. */

import { streamChat } from '../api/completions.js';
import { ApiError } from '../api/request.js';
import { ThoughtSplitter } from './thinking.js';

/** How often a request is sent again by itself while its model starts. */
const MOST_STARTS = 5;

/** @typedef {import('./tree.js').Answered & {content: string}} Filled */

/**
 * @typedef {object} Watcher
 * @property {(text: string) => void} text
 * @property {(text: string) => void} reasoning
 */

/**
 * @param {Filled} turn filled in place
 * @param {Record<string, unknown>} body
 * @param {object} options
 * @param {AbortSignal} options.signal
 * @param {Watcher} options.watcher
 * @param {(signal: AbortSignal) => Promise<boolean>} options.modelReady resolves when a model that was starting is
 *   ready (true), or at once when it was not starting (false)
 */
export async function answer(turn, body, { signal, watcher, modelReady }) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await stream(turn, body, signal, watcher);
    } catch (error) {
      if (signal.aborted) turn.stopped = true;
      else if (startedTooEarly(error, turn) && attempt < MOST_STARTS && (await modelReady(signal))) continue;
      else if (signal.aborted) turn.stopped = true;
      else turn.error = describe(error, turn);
    }
    turn.pending = false;
    return;
  }
}

/**
 * @param {Filled} turn
 * @param {Record<string, unknown>} body
 * @param {AbortSignal} signal
 * @param {Watcher} watcher
 */
async function stream(turn, body, signal, watcher) {
  const splitter = new ThoughtSplitter();
  const asked = performance.now();
  let first = 0;
  /** @param {{reasoning: string, text: string}} piece */
  const take = ({ reasoning, text }) => {
    turn.reasoning += reasoning;
    turn.content += text;
    if (reasoning) watcher.reasoning(reasoning);
    if (text) watcher.text(text);
  };
  try {
    for await (const event of streamChat(body, signal)) {
      if (event.kind === 'text' || event.kind === 'reasoning') {
        const now = performance.now();
        first ||= now;
        turn.firstTokenMs ??= now - asked;
        turn.streamMs = now - first;
        turn.pieces += 1;
        take(event.kind === 'text' ? splitter.push(event.text) : { reasoning: event.text, text: '' });
      } else if (event.kind === 'open') turn.requestId = event.requestId;
      else if (event.kind === 'finish') turn.finish = event.reason;
      else turn.tokens = event.completionTokens;
    }
  } finally {
    take(splitter.finish());
  }
}

/**
 * @param {unknown} error
 * @param {Filled} turn
 */
const startedTooEarly = (error, turn) =>
  error instanceof ApiError && error.status === 503 && !turn.content && !turn.reasoning;

/**
 * @param {unknown} error
 * @param {Filled} turn
 */
function describe(error, turn) {
  if (!(error instanceof ApiError)) {
    console.error(error);
    const message = `The console could not show the answer: ${error}`;
    return { message, status: 0, code: null, retryAfter: null };
  }
  turn.requestId = error.requestId ?? turn.requestId;
  const { message, status, code, retryAfter } = error;
  return { message, status, code, retryAfter };
}
