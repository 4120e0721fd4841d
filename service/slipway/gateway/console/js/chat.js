/** The conversation on the page: asks, shows, stops, retries, edits, starts anew. */

import { answer } from './answering.js';
import { messagesFor, newVariant } from './conversation.js';
import { announce, byId } from './dom.js';
import { recall, remember } from './storage.js';
import { TurnView } from './turns.js';

const STORED = 'conversation';
const WAITING_EVERY_MS = 1000;

/**
 * What the chat needs of the rest of the page.
 * @typedef {object} Surroundings
 * @property {() => string} model
 * @property {() => string} key
 * @property {import('./settings.js').Settings} settings
 * @property {import('./readiness.js').ReadinessWatch} readiness
 * @property {import('./scrolling.js').Follower} follower
 * @property {(busy: boolean) => void} setBusy
 * @property {(error: import('./conversation.js').Variant['error']) => void} onError
 * @property {() => void} openKey
 */

export class Chat {
  #around;
  #list = byId('turns');
  /** @type {import('./conversation.js').Turn[]} */
  #turns = [];
  /** @type {TurnView[]} */
  #views = [];
  /** @type {AbortController | null} */
  #running = null;

  /** @param {Surroundings} around */
  constructor(around) {
    this.#around = around;
    for (const turn of recall(sessionStorage, STORED) ?? []) this.#append(turn);
    this.#arrange();
    addEventListener('pagehide', () => this.#save());
  }

  /** @param {string} question */
  ask(question) {
    if (this.#running) return;
    this.#append({ question, variants: [], shown: 0 });
    this.#answerLast();
  }

  stop() {
    this.#running?.abort();
  }

  /** Stops without waiting for the end: what was being written is about to go. */
  #abandon() {
    this.stop();
    this.#running = null;
    this.#around.setBusy(false);
  }

  clear() {
    this.#abandon();
    this.#turns = [];
    this.#views = [];
    this.#list.replaceChildren();
    this.#arrange();
    this.#save();
    announce('New chat');
  }

  /**
   * The request for a question that was not asked yet.
   * @param {string} question
   */
  bodyFor(question) {
    return this.#body([...this.#turns, { question, variants: [], shown: 0 }]);
  }

  /** The request for the last question that was asked, or null. */
  lastBody() {
    return this.#turns.length ? this.#body(this.#turns) : null;
  }

  /** @param {import('./conversation.js').Turn[]} turns */
  #body(turns) {
    const { model, settings } = this.#around;
    return {
      model: model(),
      messages: messagesFor(turns, turns.length - 1, settings.instructions),
      ...settings.values,
    };
  }

  /** @param {import('./conversation.js').Turn} turn */
  #append(turn) {
    const index = this.#turns.push(turn) - 1;
    const view = new TurnView(turn, {
      retry: () => this.#retry(index),
      edit: (question) => this.#edit(index, question),
      show: (shown) => this.#show(index, shown),
      openKey: () => this.#around.openKey(),
      openSettings: () => this.#around.settings.open('max_tokens'),
    });
    this.#views.push(view);
    this.#list.append(view.question, view.answer);
  }

  #arrange() {
    byId('empty').hidden = this.#turns.length > 0;
    for (const [index, view] of this.#views.entries()) view.last = index === this.#views.length - 1;
  }

  /** @param {number} index */
  #retry(index) {
    if (this.#running || !this.#around.settings.check()) return;
    this.#forgetFrom(index + 1);
    this.#answerLast();
  }

  /**
   * @param {number} index
   * @param {string} question
   */
  #edit(index, question) {
    if (!this.#around.settings.check()) return;
    this.#abandon();
    this.#forgetFrom(index);
    this.ask(question);
  }

  /**
   * @param {number} index
   * @param {number} shown
   */
  #show(index, shown) {
    this.#turns[index].shown = shown;
    this.#views[index].showAnswer();
    this.#save();
    const target = this.#views[index].answer.querySelector('.variants button:not(:disabled)');
    if (target instanceof HTMLElement) target.focus();
  }

  /** @param {number} index */
  #forgetFrom(index) {
    for (const view of this.#views.splice(index)) {
      view.question.remove();
      view.answer.remove();
    }
    this.#turns.length = index;
  }

  async #answerLast() {
    const { model, key, readiness, follower, setBusy, onError } = this.#around;
    const turn = /** @type {import('./conversation.js').Turn} */ (this.#turns.at(-1));
    const view = /** @type {TurnView} */ (this.#views.at(-1));
    const variant = newVariant(model());
    const body = this.#body(this.#turns);
    turn.shown = turn.variants.push(variant) - 1;
    const controller = new AbortController();
    this.#running = controller;
    this.#arrange();
    setBusy(true);
    const live = view.begin();
    follower.follow();
    announce('Waiting for the answer');
    const ticking = this.#sayWaiting(live, variant);
    await answer(variant, body, {
      key: key(),
      signal: controller.signal,
      watcher: live,
      modelReady: (signal) => readiness.whenReady(variant.model, signal),
    });
    clearInterval(ticking);
    live.end();
    this.#save();
    if (this.#running !== controller) return;
    this.#running = null;
    setBusy(false);
    if (variant.error) onError(variant.error);
    else announce(variant.stopped ? 'Stopped' : `The answer: ${variant.content}`);
  }

  /**
   * Says what is waited for until the first token comes.
   * @param {ReturnType<TurnView['begin']>} live
   * @param {import('./conversation.js').Variant} variant
   */
  #sayWaiting(live, variant) {
    const since = performance.now();
    const say = () => {
      const { ready, message } = this.#around.readiness.of(variant.model);
      const waited = Math.round((performance.now() - since) / 1000);
      const what = ready
        ? 'Waiting for the first token'
        : `Waiting for the model: ${message.replace(/\.$/, '')}`;
      live.waiting(waited > 2 ? `${what} (${waited} s)` : `${what}…`);
    };
    say();
    return setInterval(say, WAITING_EVERY_MS);
  }

  #save() {
    remember(sessionStorage, STORED, this.#turns.length ? this.#turns : null);
  }
}
