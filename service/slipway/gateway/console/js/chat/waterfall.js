/** Where the time of an answer went: queue, prefill, decode. The gateway's measure; the browser's own without it. */

import { ApiError, callJson } from '../api/request.js';
import { make } from '../ui/dom.js';
import { duration } from '../ui/format.js';

/** @typedef {{name: string, ms: number}} Stage name: `queue`, `prefill`, `decode`, or `wait` for the first two in one */

const NAMES = { queue: 'Queue', prefill: 'Prefill', decode: 'Decode', wait: 'Wait' };
const HELP = {
  queue: 'in the gateway, until an engine took the request',
  prefill: 'until the first token',
  decode: 'from the first to the last token',
  wait: 'from the question to the first token, as this browser saw it',
};
/** A record is written a moment after the answer's end: the first look waits for it, and others follow. */
const TRIES = 4;
const BETWEEN_MS = 700;

/**
 * Asks the gateway where the time went.
 * @param {string} requestId
 * @returns {Promise<Stage[] | null>} null where it does not know
 */
export async function stagesFromGateway(requestId) {
  for (let attempt = 1; attempt <= TRIES; attempt += 1) {
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS * attempt));
    try {
      return stagesOf(await callJson(`v1/requests/${encodeURIComponent(requestId)}`));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 404) return null;
    }
  }
  return null;
}

/**
 * @param {any} record
 * @returns {Stage[] | null}
 */
export function stagesOf(record) {
  const { queue_ms: queue, prefill_ms: prefill, decode_ms: decode } = record?.timings ?? record ?? {};
  if (![queue, prefill, decode].every((ms) => typeof ms === 'number' && ms >= 0)) return null;
  return [
    { name: 'queue', ms: queue },
    { name: 'prefill', ms: prefill },
    { name: 'decode', ms: decode },
  ];
}

/**
 * What the browser saw itself.
 * @param {Pick<import('./tree.js').Answered, 'firstTokenMs' | 'streamMs'>} answer
 * @returns {Stage[]}
 */
export function stagesSeenHere({ firstTokenMs, streamMs }) {
  if (firstTokenMs === null) return [];
  return [
    { name: 'wait', ms: firstTokenMs },
    { name: 'decode', ms: streamMs ?? 0 },
  ];
}

/**
 * A bar with a part for each stage, and the same in words.
 * @param {Stage[]} stages
 * @returns {HTMLElement}
 */
export function waterfall(stages) {
  const bar = make('span', { className: 'waterfall-bar', 'aria-hidden': 'true' });
  const words = make('span', { className: 'waterfall-words' });
  for (const { name, ms } of stages) {
    const part = make('span', { className: `stage stage-${name}` });
    part.style.flexGrow = String(Math.max(ms, 0.01));
    bar.append(part);
    words.append(
      make(
        'span',
        { className: 'stage-word', title: HELP[/** @type {keyof typeof HELP} */ (name)] },
        make('span', { className: `stage-mark stage-${name}`, 'aria-hidden': 'true' }),
        `${NAMES[/** @type {keyof typeof NAMES} */ (name)]} `,
        make('b', {}, duration(ms)),
      ),
    );
  }
  return make(
    'div',
    { className: 'waterfall', role: 'group', 'aria-label': 'Where the time went' },
    bar,
    words,
  );
}
