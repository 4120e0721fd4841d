/** Conversations as a file: `{"format": "slipway-conversations", "version": 1, "conversations": […]}`. */

const FORMAT = 'slipway-conversations';
const VERSION = 1;
/** Bounds of what is read: a file from elsewhere must not fill the browser. */
const LARGEST = 50 * 2 ** 20;
const MOST_CONVERSATIONS = 10_000;
const MOST_TURNS = 20_000;
const ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$/;

/** @typedef {import('./tree.js').Conversation} Conversation */
/** @typedef {import('./tree.js').Turn} Turn */

/** A file that cannot be read; the message says why, as a sentence. */
export class UnreadableFile extends Error {}

/**
 * @param {Conversation[]} conversations
 * @returns {string}
 */
export function toFile(conversations) {
  return JSON.stringify({ format: FORMAT, version: VERSION, conversations }, null, 2);
}

/**
 * Reads a file. Everything is checked and copied field by field, so that nothing unknown gets in.
 * @param {string} text
 * @returns {Conversation[]}
 * @throws {UnreadableFile}
 */
export function fromFile(text) {
  if (text.length > LARGEST) throw new UnreadableFile('The file is larger than 50 MiB.');
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw new UnreadableFile('The file is not JSON.');
  }
  if (data?.format !== FORMAT || !Array.isArray(data.conversations))
    throw new UnreadableFile('The file does not hold conversations of this console.');
  if (data.version !== VERSION)
    throw new UnreadableFile(`The file has version ${data.version}; this console reads version ${VERSION}.`);
  if (data.conversations.length > MOST_CONVERSATIONS)
    throw new UnreadableFile(`The file holds more than ${MOST_CONVERSATIONS} conversations.`);
  return data.conversations.map(conversationOf);
}

/**
 * @param {any} data
 * @param {number} index
 * @returns {Conversation}
 */
function conversationOf(data, index) {
  const where = `Conversation ${index + 1} of the file`;
  if (!ID.test(data?.id) || typeof data.turns !== 'object' || data.turns === null)
    throw new UnreadableFile(`${where} has no id or no turns.`);
  const entries = Object.entries(data.turns);
  if (entries.length > MOST_TURNS) throw new UnreadableFile(`${where} has more than ${MOST_TURNS} turns.`);
  /** @type {Record<string, Turn>} */
  const turns = {};
  for (const [id, turn] of entries) {
    const read = turnOf(id, turn);
    if (!read) throw new UnreadableFile(`${where} has a turn that cannot be read.`);
    turns[id] = read;
  }
  for (const turn of Object.values(turns)) {
    if (turn.parent !== null && !Object.hasOwn(turns, turn.parent))
      throw new UnreadableFile(`${where} has a turn that answers none.`);
    if (turn.shown !== null && turns[turn.shown]?.parent !== turn.id) turn.shown = null;
  }
  const shown = Object.hasOwn(turns, data.shown) && turns[data.shown].parent === null ? data.shown : null;
  return {
    id: data.id,
    title: text(data.title).slice(0, 200),
    system: text(data.system),
    model: text(data.model),
    created: number(data.created) ?? 0,
    updated: number(data.updated) ?? 0,
    shown: shown ?? Object.values(turns).find(({ parent }) => parent === null)?.id ?? null,
    turns,
  };
}

/**
 * @param {string} id
 * @param {any} turn
 * @returns {Turn | null}
 */
function turnOf(id, turn) {
  if (!ID.test(id) || typeof turn !== 'object' || turn === null) return null;
  if (turn.role !== 'user' && turn.role !== 'assistant') return null;
  if (typeof turn.content !== 'string') return null;
  const common = {
    id,
    parent: typeof turn.parent === 'string' ? turn.parent : null,
    role: turn.role,
    content: turn.content,
    created: number(turn.created) ?? 0,
    shown: typeof turn.shown === 'string' ? turn.shown : null,
  };
  if (turn.role === 'user') return common;
  return {
    ...common,
    model: text(turn.model),
    parameters: parametersOf(turn.parameters),
    reasoning: text(turn.reasoning),
    pending: false,
    finish: typeof turn.finish === 'string' ? turn.finish : null,
    stopped: turn.stopped === true || turn.pending === true,
    firstTokenMs: number(turn.firstTokenMs),
    streamMs: number(turn.streamMs),
    pieces: number(turn.pieces) ?? 0,
    tokens: number(turn.tokens),
    requestId: typeof turn.requestId === 'string' ? turn.requestId.slice(0, 64) : null,
    error: errorOf(turn.error),
    stages: stagesOf(turn.stages),
    feedback: ratingOf(turn.feedback),
  };
}

/** @param {any} value */
const text = (value) => (typeof value === 'string' ? value : '');

/** @param {any} value */
const number = (value) => (typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : null);

/** @param {any} value */
function parametersOf(value) {
  if (typeof value !== 'object' || value === null) return {};
  const plain = (/** @type {unknown} */ each) =>
    typeof each === 'number' || (Array.isArray(each) && each.every((one) => typeof one === 'string'));
  return Object.fromEntries(
    Object.entries(value).filter(([name, each]) => /^[a-z_]{1,40}$/.test(name) && plain(each)),
  );
}

/** @param {any} value */
function errorOf(value) {
  if (typeof value?.message !== 'string') return null;
  return { message: value.message, status: number(value.status) ?? 0, code: null, retryAfter: null };
}

/** @param {any} value */
function stagesOf(value) {
  if (!Array.isArray(value) || value.length > 8) return null;
  const stages = value.map((stage) => ({ name: text(stage?.name), ms: number(stage?.ms) ?? 0 }));
  return stages.every(({ name }) => /^[a-z]{1,20}$/.test(name)) ? stages : null;
}

/** @param {any} value */
function ratingOf(value) {
  if (value?.rating !== 'up' && value?.rating !== 'down') return null;
  return { rating: value.rating, comment: text(value.comment) };
}
