/**
 * A conversation as data: a tree of turns, in which an edited question or another answer is a sibling, so that nothing
 * is lost. Pure: nothing here knows of the page or of where conversations are kept.
 */

/**
 * One answer's fields beside those of every turn.
 * @typedef {object} Answered
 * @property {string} model
 * @property {Record<string, unknown>} parameters that it was asked with
 * @property {string} reasoning
 * @property {boolean} pending still being written
 * @property {string | null} finish why it ended, in the API's words
 * @property {boolean} stopped by the person, or because the page was closed
 * @property {number | null} firstTokenMs from the request to the first token
 * @property {number | null} streamMs from the first to the last token
 * @property {number} pieces that came
 * @property {number | null} tokens that the engine counted
 * @property {string | null} requestId
 * @property {{message: string, status: number, code: string | null, retryAfter: number | null} | null} error
 * @property {import('./waterfall.js').Stage[] | null} stages as the gateway measured them
 * @property {{rating: 'up' | 'down', comment: string} | null} feedback
 */

/**
 * @typedef {{id: string, parent: string | null, role: 'user' | 'assistant', content: string, created: number,
 *   shown: string | null} & Partial<Answered>} Turn
 *   created: milliseconds since 1970; shown: the child that is on the path
 */

/** @typedef {Turn & Answered} Answer */

/**
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string} title given by the person; '' shows the first question
 * @property {string} system the system prompt, or ''
 * @property {string} model last asked, or ''
 * @property {number} created milliseconds since 1970
 * @property {number} updated milliseconds since 1970
 * @property {string | null} shown the first turn on the path
 * @property {Record<string, Turn>} turns by id
 */

/** Pieces that came within less than this came at once: their speed says nothing. */
const SHORTEST_MS = 50;
const LONGEST_TITLE = 60;

/** @param {number} now @returns {Conversation} */
export function newConversation(now) {
  return {
    id: crypto.randomUUID?.() ?? randomId(),
    title: '',
    system: '',
    model: '',
    created: now,
    updated: now,
    shown: null,
    turns: {},
  };
}

/** `crypto.randomUUID` is there on HTTPS and localhost only. */
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}

/**
 * Adds a turn and shows it.
 * @param {Conversation} conversation
 * @param {Omit<Turn, 'id' | 'shown'>} turn
 * @returns {Turn}
 */
export function addTurn(conversation, turn) {
  const added = { ...turn, id: randomId(), shown: null };
  conversation.turns[added.id] = added;
  show(conversation, added.id);
  return added;
}

/**
 * A turn of the model, empty.
 * @param {string} parent
 * @param {string} model
 * @param {Record<string, unknown>} parameters
 * @param {number} now
 * @returns {Omit<Answer, 'id' | 'shown'>}
 */
export function emptyAnswer(parent, model, parameters, now) {
  return {
    parent,
    role: 'assistant',
    content: '',
    created: now,
    model,
    parameters,
    reasoning: '',
    pending: true,
    finish: null,
    stopped: false,
    firstTokenMs: null,
    streamMs: null,
    pieces: 0,
    tokens: null,
    requestId: null,
    error: null,
    stages: null,
    feedback: null,
  };
}

/**
 * Puts a turn on the path.
 * @param {Conversation} conversation
 * @param {string} id
 */
export function show(conversation, id) {
  const { parent } = conversation.turns[id];
  const holder = parent === null ? conversation : conversation.turns[parent];
  holder.shown = id;
}

/**
 * The turns that are shown, first to last.
 * @param {Conversation} conversation
 * @returns {Turn[]}
 */
export function path({ shown, turns }) {
  /** @type {Turn[]} */
  const found = [];
  for (let id = shown; id !== null && turns[id]; id = turns[id].shown) {
    if (found.includes(turns[id])) break; // Data from elsewhere may hold a ring.
    found.push(turns[id]);
  }
  return found;
}

/**
 * The path up to a turn, and that turn.
 * @param {Conversation} conversation
 * @param {string} id
 */
export function pathTo({ turns }, id) {
  /** @type {Turn[]} */
  const found = [];
  for (let turn = turns[id]; turn; turn = turns[turn.parent ?? '']) {
    if (found.includes(turn)) break;
    found.unshift(turn);
  }
  return found;
}

/**
 * The ids of a turn and its siblings, oldest first.
 * @param {Conversation} conversation
 * @param {Turn} turn
 */
export function siblings({ turns }, turn) {
  return Object.values(turns)
    .filter(({ parent, role }) => parent === turn.parent && role === turn.role)
    .sort((one, other) => one.created - other.created || (one.id < other.id ? -1 : 1))
    .map(({ id }) => id);
}

/**
 * The messages that ask for an answer to the last question of a path. Questions that got no answer join the next one,
 * because most chat templates want the roles to alternate.
 * @param {Pick<Turn, 'role' | 'content'>[]} turns
 * @param {string} system the system prompt, or ''
 * @returns {{role: string, content: string}[]}
 */
export function messagesFor(turns, system) {
  const messages = system.trim() ? [{ role: 'system', content: system.trim() }] : [];
  for (const { role, content } of turns) {
    const previous = messages.at(-1);
    if (role === 'user' && previous?.role === 'user') previous.content += `\n\n${content}`;
    else if (content) messages.push({ role, content });
  }
  return messages;
}

/** What the list calls a conversation. @param {Conversation} conversation */
export function titleOf(conversation) {
  if (conversation.title) return conversation.title;
  const first = path(conversation).find(({ role }) => role === 'user')?.content ?? '';
  const line = first.trim().replace(/\s+/g, ' ');
  if (!line) return 'New chat';
  return line.length > LONGEST_TITLE ? `${line.slice(0, LONGEST_TITLE - 1)}…` : line;
}

/**
 * Two states of one conversation as one: every turn of both, and what `newer` shows.
 * @param {Conversation} older
 * @param {Conversation} newer
 * @returns {Conversation}
 */
export function merge(older, newer) {
  return { ...newer, turns: { ...older.turns, ...newer.turns } };
}

/**
 * Tokens a second after the first one, and whether the engine counted them (`exact`) or the pieces were counted here.
 * @param {Pick<Answered, 'tokens' | 'pieces' | 'streamMs'>} answer
 * @returns {{perSecond: number | null, tokens: number, exact: boolean}}
 */
export function speed(answer) {
  const tokens = answer.tokens ?? answer.pieces;
  const perSecond =
    tokens > 1 && answer.streamMs && answer.streamMs >= SHORTEST_MS
      ? ((tokens - 1) / answer.streamMs) * 1000
      : null;
  return { perSecond, tokens, exact: answer.tokens !== null };
}
