/** The chat page: conversation, composer, starters, and what is said while a model starts. */

import { ApiError, sentenceOf } from '../api/request.js';
import { announce, byId, make } from '../ui/dom.js';
import { Chat } from './chat.js';
import { Composer } from './composer.js';
import { ConversationList } from './list.js';
import { Follower } from './scrolling.js';
import { ConversationStore } from './store.js';

/** How often a gateway without a chat model is asked again. */
const EMPTY_EVERY_MS = 4000;

/** Short questions with short answers, so that the smallest model can give a good one. */
const STARTERS = [
  ['Ask', 'What is the capital of France?'],
  ['Explain', 'What is gravity?'],
  ['List', 'Name five fruits.'],
  ['Write', 'Write a Python function that adds two numbers. Only the code.'],
];
/** For the starters, where the person has set nothing else: small models ramble when they choose by chance. */
const STEADY = { temperature: 0, max_tokens: 300 };

/**
 * @typedef {object} Parts
 * @property {import('./models.js').ModelPicker} picker
 * @property {import('./settings.js').Settings} settings
 * @property {import('./readiness.js').ReadinessWatch} readiness
 * @property {import('../session/session.js').Session} session
 * @property {() => void} signIn
 * @property {(body: Record<string, unknown>) => void} use
 */

export class ChatPage {
  element = byId('chat-page');
  #parts;
  #composer = new Composer();
  #store = new ConversationStore();
  #chat;
  #list;
  #timer = 0;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    const { picker, settings, readiness } = parts;
    this.#chat = new Chat({
      model: () => picker.chosen,
      settings,
      readiness,
      follower: new Follower(),
      store: this.#store,
      setBusy: (busy) => {
        this.#composer.busy = busy;
      },
      onError: ({ status, code }) => {
        if (status === 404) this.refreshModels();
        if (status === 503 || code === 'unreachable') readiness.look();
      },
      signIn: parts.signIn,
      use: parts.use,
    });
    this.#list = new ConversationList(this.#store, this.#chat);
    this.#list.show();
    this.#chat.addEventListener('open', () => this.#showAddress());
    this.#composer.addEventListener('send', () => this.#ask(this.#composer.text));
    this.#composer.addEventListener('stop', () => this.#chat.stop());
    byId('starters').append(...STARTERS.map(([title, question]) => this.#starter(title, question)));
    picker.addEventListener('change', () => this.#showReadiness());
    readiness.addEventListener('change', (event) => {
      this.#showReadiness();
      if (!(/** @type {CustomEvent} */ (event).detail.becameReady)) return;
      announce('Ready');
      this.refreshModels();
    });
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) return;
      this.#list.show();
      if (document.querySelector('dialog:modal')) return;
      readiness.look();
      if (!picker.chosen) this.refreshModels();
    });
  }

  /**
   * The page comes into view.
   * @param {string[]} segments of the address behind `#/chat`: the id of a conversation; without one the last that was shown here stays
   */
  async enter([id]) {
    const { settings } = this.#parts;
    settings.attach(this.#chat);
    this.#composer.fit();
    if (!id) this.#showAddress();
    if (!id || id === this.#chat.id) return;
    const conversation = this.#chat.held(id) ?? (await this.#store.find(id));
    if (!conversation) announce('This conversation is not in this browser.');
    this.#chat.open(conversation);
    if (conversation?.model) this.#parts.picker.choose(conversation.model);
  }

  focus() {
    if (matchMedia('(pointer: fine)').matches && !document.querySelector('dialog:modal'))
      this.#composer.focus();
  }

  /** The request that the page would send now. */
  body() {
    const { text } = this.#composer;
    return text ? this.#chat.bodyFor(text) : (this.#chat.lastBody() ?? this.#chat.bodyFor('Hello!'));
  }

  newChat() {
    this.#chat.open(null);
    announce('New chat');
  }

  /** @param {string} sentence '' takes the notice away */
  notice(sentence) {
    byId('notice').textContent = sentence;
    byId('notice').hidden = !sentence;
  }

  async refreshModels() {
    const { picker, readiness } = this.#parts;
    clearTimeout(this.#timer);
    try {
      await picker.refresh();
      this.notice('');
      if (picker.empty) this.#timer = setTimeout(() => this.refreshModels(), EMPTY_EVERY_MS);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) return;
      if (error.code === 'unreachable') readiness.look();
      else this.notice(sentenceOf(error));
    }
  }

  /**
   * @param {string} question
   * @param {Record<string, number>} [unless] parameters that hold where the settings say nothing
   */
  #ask(question, unless = {}) {
    if (!this.#parts.picker.chosen) {
      this.notice('There is no model to ask yet.');
      this.refreshModels();
      return;
    }
    if (!this.#parts.settings.check()) return;
    this.notice('');
    this.#composer.text = '';
    this.#chat.ask(question, unless);
  }

  #showAddress() {
    const wanted = this.#chat.id ? `#/chat/${this.#chat.id}` : '#/chat';
    if (!this.#chat.id && !location.hash) return;
    if (location.hash !== wanted && /^(#\/chat\b|$)/.test(location.hash))
      history.replaceState(null, '', wanted);
  }

  #showReadiness() {
    const { picker, readiness } = this.#parts;
    const { ready, message, part } = picker.chosen ? readiness.of(picker.chosen) : readiness.state;
    const known = readiness.state.models.has(picker.chosen);
    const text = ready ? '' : known ? `${picker.chosen}: ${message}` : message;
    if (byId('starting-text').textContent !== text) byId('starting-text').textContent = text;
    byId('starting').hidden = ready;
    const bar = /** @type {HTMLProgressElement} */ (byId('starting-part'));
    bar.hidden = part === null;
    if (part !== null) bar.value = part;
    picker.mark(ready ? (picker.chosen ? 'ready' : 'none') : 'starting');
    byId('starters').hidden = picker.empty;
    byId('empty-text').textContent = picker.empty
      ? 'This gateway serves no chat model yet. It appears here as soon as there is one.'
      : 'Ask anything, or begin with one of these.';
  }

  /**
   * @param {string} title
   * @param {string} question
   */
  #starter(title, question) {
    const button = make(
      'button',
      { type: 'button', className: 'starter', onclick: () => this.#ask(question, STEADY) },
      make('strong', {}, title),
      question,
    );
    return make('li', {}, button);
  }
}
