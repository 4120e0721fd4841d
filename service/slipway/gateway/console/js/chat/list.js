/** The list of conversations: open, search, rename, delete, export, import. */

import { announce, byId, iconButton, make } from '../ui/dom.js';
import { confirm, prompt } from '../ui/dialogs.js';
import { saveAs, readFile } from '../ui/files.js';
import { titleOf } from './tree.js';
import { fromFile, toFile, UnreadableFile } from './transfer.js';

/** @typedef {import('./tree.js').Conversation} Conversation */

export class ConversationList {
  #list = byId('conversation-list');
  #search = /** @type {HTMLInputElement} */ (byId('conversation-search'));
  #note = byId('conversation-note');
  #store;
  #chat;
  #turn = 0;

  /**
   * @param {import('./store.js').ConversationStore} store
   * @param {import('./chat.js').Chat} chat
   */
  constructor(store, chat) {
    this.#store = store;
    this.#chat = chat;
    this.#search.addEventListener('input', () => this.show());
    byId('export').addEventListener('click', () => this.#export());
    byId('import').addEventListener('click', () => this.#import());
    chat.addEventListener('change', () => this.show());
    chat.addEventListener('open', () => this.show());
  }

  /** Reads the store and shows what it holds. */
  async show() {
    const turn = (this.#turn += 1);
    const all = await this.#store.list();
    if (turn !== this.#turn) return; // A later call overtook this one.
    const wanted = this.#search.value.trim().toLowerCase();
    const found = all.filter((conversation) => !wanted || holds(conversation, wanted));
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.focus;
    this.#list.replaceChildren(...found.map((conversation) => this.#row(conversation)));
    const again = focused && this.#list.querySelector(`[data-focus="${focused}"]`);
    if (again instanceof HTMLElement) again.focus();
    this.#search.hidden = !all.length;
    byId('export').hidden = !all.length;
    this.#note.textContent = all.length ? (found.length ? '' : 'Nothing found.') : 'None yet.';
    if (!this.#store.lasting)
      this.#note.textContent = 'This browser keeps nothing: conversations go when the page is closed.';
    this.#note.hidden = !this.#note.textContent;
  }

  /** @param {Conversation} conversation */
  #row(conversation) {
    const { id } = conversation;
    const title = titleOf(conversation);
    const link = make(
      'a',
      { href: `#/chat/${id}`, className: 'conversation', title, 'data-focus': `open-${id}` },
      title,
    );
    if (id === this.#chat.id) link.setAttribute('aria-current', 'page');
    const rename = iconButton('edit', `Rename “${title}”`, () => this.#rename(id, title));
    const remove = iconButton('trash', `Delete “${title}”`, () => this.#remove(id, title));
    return make('li', {}, link, make('span', { className: 'conversation-tools' }, rename, remove));
  }

  /**
   * @param {string} id
   * @param {string} title
   */
  async #rename(id, title) {
    const given = await prompt({ title: 'Rename', label: 'Title', value: title, button: 'Rename' });
    const conversation = this.#chat.held(id) ?? (await this.#store.find(id));
    if (given === null || !conversation) return;
    conversation.title = given.trim().slice(0, 200);
    await this.#store.save(conversation);
    await this.show();
  }

  /**
   * @param {string} id
   * @param {string} title
   */
  async #remove(id, title) {
    const sure = await confirm({
      title: 'Delete this conversation?',
      text: `“${title}” is deleted from this browser. It cannot be brought back.`,
      button: 'Delete',
    });
    if (!sure) return;
    this.#chat.drop(id);
    await this.#store.remove(id);
    announce('The conversation is deleted.');
    await this.show();
    byId('new-chat').focus();
  }

  async #export() {
    const day = new Date().toISOString().slice(0, 10);
    saveAs(`slipway-conversations-${day}.json`, toFile(await this.#store.list()), 'application/json');
    announce('All conversations are exported.');
  }

  async #import() {
    const text = await readFile('.json,application/json');
    if (text === null) return;
    try {
      const { added, known } = await this.#store.add(fromFile(text));
      this.#say(`${added} imported${known ? `, ${known} were here already` : ''}.`);
    } catch (error) {
      if (!(error instanceof UnreadableFile)) throw error;
      this.#say(error.message);
    }
  }

  /** @param {string} sentence */
  async #say(sentence) {
    await this.show();
    this.#note.textContent = sentence;
    this.#note.hidden = false;
    announce(sentence);
  }
}

/**
 * @param {Conversation} conversation
 * @param {string} wanted in lower case
 */
function holds(conversation, wanted) {
  if (titleOf(conversation).toLowerCase().includes(wanted)) return true;
  return Object.values(conversation.turns).some(({ content }) => content.toLowerCase().includes(wanted));
}
