/** Where conversations are kept: IndexedDB of this browser. Nothing here is sent anywhere. */

import { openDB } from '../../vendor/idb.js';
import { merge } from './tree.js';

const STORE = 'conversations';

/** @typedef {import('./tree.js').Conversation} Conversation */

/** Keeps conversations; where the browser forbids it, only until the page is left (`lasting` is false). */
export class ConversationStore {
  lasting = true;
  /** @type {Map<string, Conversation>} */
  #memory = new Map();
  #database = this.#open();

  async #open() {
    try {
      return await openDB('slipway', 1, {
        upgrade: (/** @type {any} */ database) => {
          database.createObjectStore(STORE, { keyPath: 'id' });
        },
      });
    } catch {
      this.lasting = false;
      return null;
    }
  }

  /** @returns {Promise<Conversation[]>} last changed first */
  async list() {
    const database = await this.#database;
    /** @type {Conversation[]} */
    const all = database ? await database.getAll(STORE) : [...this.#memory.values()];
    return all.sort((one, other) => other.updated - one.updated);
  }

  /**
   * @param {string} id
   * @returns {Promise<Conversation | null>}
   */
  async find(id) {
    const database = await this.#database;
    return (database ? await database.get(STORE, id) : this.#memory.get(id)) ?? null;
  }

  /**
   * Writes a conversation. Turns that another tab added meanwhile stay.
   * @param {Conversation} conversation
   */
  async save(conversation) {
    const database = await this.#database;
    if (!database) {
      this.#memory.set(conversation.id, conversation);
      return;
    }
    const transaction = database.transaction(STORE, 'readwrite');
    const stored = await transaction.store.get(conversation.id);
    await transaction.store.put(stored ? merge(stored, conversation) : conversation);
    await transaction.done;
  }

  /** @param {string} id */
  async remove(id) {
    const database = await this.#database;
    if (database) await database.delete(STORE, id);
    else this.#memory.delete(id);
  }

  /**
   * Adds conversations from a file. One that is already here with the same content is left alone; one with the same id
   * and other content comes beside it: nothing that is here changes.
   * @param {Conversation[]} conversations
   * @returns {Promise<{added: number, known: number}>}
   */
  async add(conversations) {
    let [added, known] = [0, 0];
    for (const conversation of conversations) {
      const here = await this.find(conversation.id);
      if (here && same(here, conversation)) known += 1;
      else {
        await this.save(
          here
            ? { ...conversation, id: `${conversation.id}-${crypto.getRandomValues(new Uint32Array(1))[0]}` }
            : conversation,
        );
        added += 1;
      }
    }
    return { added, known };
  }
}

/**
 * Whether two conversations say the same; what is shown of them may differ.
 * @param {Conversation} one
 * @param {Conversation} other
 */
function same(one, other) {
  const said = (/** @type {Conversation} */ { system, turns }) =>
    JSON.stringify([
      system,
      Object.values(turns)
        .map(({ id, parent, role, content }) => [id, parent, role, content])
        .sort(),
    ]);
  return said(one) === said(other);
}
