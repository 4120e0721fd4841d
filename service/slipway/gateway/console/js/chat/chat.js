/** The conversation on the page: asks, shows, stops, retries, edits, starts anew. */

import { announce, byId } from '../ui/dom.js';
import { Runs } from './runs.js';
import { addTurn, emptyAnswer, messagesFor, newConversation, path, pathTo, show, siblings } from './tree.js';
import { AnswerView, QuestionView } from './turns.js';

const WAITING_EVERY_MS = 1000;

/** @typedef {import('./tree.js').Turn} Turn */
/** @typedef {import('./tree.js').Answer} Answer */
/** @typedef {import('./tree.js').Conversation} Conversation */

/**
 * What the chat needs of the rest of the page.
 * @typedef {object} Surroundings
 * @property {() => string} model
 * @property {import('./settings.js').Settings} settings
 * @property {import('./readiness.js').ReadinessWatch} readiness
 * @property {import('./scrolling.js').Follower} follower
 * @property {import('./store.js').ConversationStore} store
 * @property {(busy: boolean) => void} setBusy
 * @property {(error: NonNullable<Answer['error']>) => void} onError
 * @property {() => void} signIn
 * @property {(body: Record<string, unknown>) => void} use
 */

/** Fires `change` when the list of conversations has to be shown anew, and `open` when another one is shown. */
export class Chat extends EventTarget {
  #around;
  #list = byId('turns');
  #conversation = newConversation(Date.now());
  /** @type {{turn: Turn, view: QuestionView | AnswerView}[]} */
  #shown = [];
  #runs;

  /** @param {Surroundings} around */
  constructor(around) {
    super();
    this.#around = around;
    this.#runs = new Runs(around.store, around.readiness);
    this.#runs.addEventListener('change', (event) => this.#follow(/** @type {CustomEvent} */ (event).detail));
    setInterval(() => this.#sayWaiting(), WAITING_EVERY_MS);
    this.#arrange();
  }

  /** The id of the conversation that is shown, or '' while nothing was said in it. */
  get id() {
    return this.#conversation.shown ? this.#conversation.id : '';
  }

  /** Whether an answer is being written in this conversation. */
  get busy() {
    return this.#runs.of(this.#conversation.id) !== null;
  }

  get system() {
    return this.#conversation.system;
  }

  set system(text) {
    this.#conversation.system = text;
    if (this.id) this.#save();
  }

  /**
   * Shows a conversation.
   * @param {Conversation | null} conversation null: a new one
   */
  open(conversation) {
    const left = this.#runs.of(this.#conversation.id);
    if (left) left.live = null;
    // One in which an answer is being written is the very object that the run fills.
    const running = conversation && this.#runs.of(conversation.id);
    this.#conversation = running ? running.conversation : (conversation ?? newConversation(Date.now()));
    this.#shown = [];
    this.#list.replaceChildren();
    this.#arrange();
    this.#around.settings.attach(this);
    this.#around.setBusy(this.busy);
    this.#around.follower.follow();
    this.dispatchEvent(new Event('open'));
  }

  /**
   * A conversation that is held here, newer than what the store has.
   * @param {string} id
   */
  held(id) {
    if (id === this.#conversation.id) return this.#conversation;
    return this.#runs.of(id)?.conversation ?? null;
  }

  /** Lets go of a conversation that is about to be deleted. @param {string} id */
  drop(id) {
    this.#runs.drop(id);
    if (id === this.#conversation.id) this.open(null);
  }

  /**
   * @param {string} question
   * @param {Record<string, number>} [unless] parameters that hold where the settings say nothing
   */
  ask(question, unless = {}) {
    if (this.busy) return;
    const parent = path(this.#conversation).at(-1)?.id ?? null;
    this.#question(question, parent, unless);
  }

  stop() {
    this.#runs.of(this.#conversation.id)?.stop();
  }

  /**
   * The request for a question that was not asked yet.
   * @param {string} question
   */
  bodyFor(question) {
    const turns = [...path(this.#conversation), { role: /** @type {const} */ ('user'), content: question }];
    return this.#body(turns, this.#around.model(), this.#around.settings.values);
  }

  /** The request for the last answer, or null. */
  lastBody() {
    const last = path(this.#conversation).findLast(({ role }) => role === 'assistant');
    return last ? this.#bodyOf(/** @type {Answer} */ (last)) : null;
  }

  /**
   * The request that an answer was given to.
   * @param {Answer} turn
   */
  #bodyOf(turn) {
    return this.#body(pathTo(this.#conversation, turn.id).slice(0, -1), turn.model, turn.parameters);
  }

  /**
   * @param {Pick<Turn, 'role' | 'content'>[]} turns
   * @param {string} model
   * @param {Record<string, unknown>} parameters
   */
  #body(turns, model, parameters) {
    return { model, messages: messagesFor(turns, this.#conversation.system), ...parameters };
  }

  /**
   * @param {string} content
   * @param {string | null} parent
   * @param {Record<string, number>} [unless]
   */
  #question(content, parent, unless) {
    const turn = addTurn(this.#conversation, { parent, role: 'user', content, created: Date.now() });
    this.#answer(turn.id, unless);
  }

  /**
   * @param {string} question its id
   * @param {Record<string, number>} [unless]
   */
  #answer(question, unless) {
    const { model, settings, follower, setBusy } = this.#around;
    const conversation = this.#conversation;
    const first = Object.keys(conversation.turns).length === 1;
    const empty = emptyAnswer(question, model(), { ...unless, ...settings.values }, Date.now());
    const turn = /** @type {Answer} */ (addTurn(conversation, empty));
    conversation.model = turn.model;
    conversation.updated = Date.now();
    this.#runs.begin(conversation, turn, this.#bodyOf(turn));
    this.#arrange();
    setBusy(true);
    follower.follow();
    announce('Waiting for the answer');
    if (first) this.dispatchEvent(new Event('open'));
  }

  /** @type {import('./turns.js').Actions} */
  #actions = {
    retry: (turn) => {
      if (!this.busy && this.#around.settings.check()) this.#answer(/** @type {string} */ (turn.parent));
    },
    edit: (turn, question) => {
      if (!this.#around.settings.check()) return;
      if (this.busy) this.#leaveRun();
      this.#question(question, turn.parent);
    },
    turnTo: (turn, by) => {
      if (this.busy) return;
      const all = siblings(this.#conversation, turn);
      const wanted = all[all.indexOf(turn.id) + by];
      show(this.#conversation, wanted);
      this.#arrange();
      this.#save();
      const view = this.#shown.find((each) => each.turn.id === wanted)?.view;
      const button = view?.element.querySelector('.variants button:not(:disabled)');
      if (button instanceof HTMLElement) button.focus();
    },
    use: (turn) => this.#around.use(this.#bodyOf(/** @type {Answer} */ (turn))),
    messages: (turn) => messagesFor(pathTo(this.#conversation, turn.id), this.#conversation.system),
    changed: () => this.#save(),
    signIn: () => this.#around.signIn(),
    openSettings: () => this.#around.settings.open('max_tokens'),
  };

  /** An edit takes the place of an answer that is still coming: what came of it is kept. */
  #leaveRun() {
    const run = this.#runs.of(this.#conversation.id);
    if (!run) return;
    run.live = null;
    run.turn.stopped = true;
    run.turn.pending = false;
    run.stop();
  }

  /** Brings the list on the page to what the path holds; turns that stay are not touched. */
  #arrange() {
    const turns = path(this.#conversation);
    let same = 0;
    while (same < this.#shown.length && this.#shown[same].turn === turns[same]) same += 1;
    for (const { view } of this.#shown.splice(same)) view.element.remove();
    for (const turn of turns.slice(same)) {
      const view = this.#view(turn);
      this.#shown.push({ turn, view });
      this.#list.append(view.element);
    }
    byId('empty').hidden = turns.length > 0;
    for (const [index, { view }] of this.#shown.entries())
      if (view instanceof AnswerView) view.last = index === this.#shown.length - 1;
    this.#sayWaiting();
  }

  /** @param {Turn} turn */
  #view(turn) {
    const all = siblings(this.#conversation, turn);
    const place = { position: all.indexOf(turn.id), of: all.length };
    if (turn.role === 'user') return new QuestionView(turn, place, this.#actions);
    const answer = /** @type {Answer} */ (turn);
    const view = new AnswerView(answer, place, this.#actions);
    const run = this.#runs.of(this.#conversation.id);
    if (run?.turn === answer) run.live = view.begin();
    else {
      if (answer.pending) {
        answer.pending = false;
        answer.stopped = true; // The page was closed in the middle of it.
      }
      view.showWhole();
    }
    return view;
  }

  /** @param {{what: 'begin' | 'end' | 'stages', run: import('./runs.js').Run}} news of a run */
  #follow({ what, run }) {
    const { turn, conversation, live } = run;
    if (what === 'stages') {
      const view = this.#shown.find((each) => each.turn === turn)?.view;
      if (view instanceof AnswerView) view.showStages();
      return;
    }
    this.dispatchEvent(new Event('change'));
    if (what === 'begin') return;
    live?.end();
    if (!live || conversation !== this.#conversation) return;
    this.#around.setBusy(this.busy);
    if (turn.error) this.#around.onError(turn.error);
    else announce(turn.stopped ? 'Stopped' : `The answer: ${turn.content}`);
  }

  /** Says what is waited for until the first token comes. */
  #sayWaiting() {
    const run = this.#runs.of(this.#conversation.id);
    if (!run?.live) return;
    const { ready, message } = this.#around.readiness.of(run.turn.model);
    const waited = Math.round((performance.now() - run.since) / 1000);
    const what = ready
      ? 'Waiting for the first token'
      : `Waiting for the model: ${message.replace(/\.$/, '')}`;
    run.live.waiting(waited > 2 ? `${what} (${waited} s)` : `${what}…`);
  }

  async #save() {
    await this.#around.store.save(this.#conversation);
    this.dispatchEvent(new Event('change'));
  }
}
