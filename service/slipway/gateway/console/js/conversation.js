/** The conversation as data: what was said, and what goes into the next request. */

/**
 * One answer. A question that was retried has several.
 * @typedef {object} Variant
 * @property {string} model
 * @property {string} content
 * @property {string} reasoning
 * @property {string | null} finish why it ended, in the API's words
 * @property {boolean} stopped by the person
 * @property {number | null} firstTokenMs from the request to the first token
 * @property {number | null} streamMs from the first to the last token
 * @property {number} pieces that came
 * @property {number | null} tokens that the engine counted
 * @property {string | null} requestId
 * @property {{message: string, status: number, code: string | null, retryAfter: number | null} | null} error
 */

/** Pieces that came within less than this came at once: their speed says nothing. */
const SHORTEST_MS = 50;

/** @typedef {{question: string, variants: Variant[], shown: number}} Turn */

/**
 * @param {string} model
 * @returns {Variant}
 */
export function newVariant(model) {
  return {
    model,
    content: '',
    reasoning: '',
    finish: null,
    stopped: false,
    firstTokenMs: null,
    streamMs: null,
    pieces: 0,
    tokens: null,
    requestId: null,
    error: null,
  };
}

/**
 * The messages that ask turn `index` of the conversation. Questions that got no answer join the next one,
 * because most chat templates want the roles to alternate.
 * @param {Turn[]} turns
 * @param {number} index
 * @param {string} instructions the system prompt, or ''
 * @returns {{role: string, content: string}[]}
 */
export function messagesFor(turns, index, instructions) {
  const messages = instructions ? [{ role: 'system', content: instructions }] : [];
  for (const [position, turn] of turns.slice(0, index + 1).entries()) {
    const previous = messages.at(-1);
    if (previous?.role === 'user') previous.content += `\n\n${turn.question}`;
    else messages.push({ role: 'user', content: turn.question });
    const answer = position < index ? turn.variants[turn.shown]?.content : '';
    if (answer) messages.push({ role: 'assistant', content: answer });
  }
  return messages;
}

/**
 * Tokens a second after the first one, and whether the engine counted them (`exact`) or the pieces were counted here.
 * @param {Variant} variant
 * @returns {{perSecond: number | null, tokens: number, exact: boolean}}
 */
export function speed(variant) {
  const tokens = variant.tokens ?? variant.pieces;
  const perSecond =
    tokens > 1 && variant.streamMs && variant.streamMs >= SHORTEST_MS
      ? ((tokens - 1) / variant.streamMs) * 1000
      : null;
  return { perSecond, tokens, exact: variant.tokens !== null };
}
