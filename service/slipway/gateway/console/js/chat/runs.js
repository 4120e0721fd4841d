/** The answers that are being written, one for each conversation; they go on while another one is looked at. */

import { answer } from './answering.js';
import { stagesFromGateway } from './waterfall.js';

/** How often a conversation is kept while an answer is written. */
const SAVE_EVERY_MS = 2000;

/** @typedef {import('./tree.js').Conversation} Conversation */
/** @typedef {import('./tree.js').Answer} Answer */
/** @typedef {ReturnType<import('./turns.js').AnswerView['begin']>} Live */

export class Run {
  /** @type {Live | null} where it is shown, if it is */
  live = null;
  /** Its conversation was deleted: nothing of it is kept. */
  dropped = false;
  #controller = new AbortController();

  /**
   * @param {Conversation} conversation
   * @param {Answer} turn
   */
  constructor(conversation, turn) {
    this.conversation = conversation;
    this.turn = turn;
    this.since = performance.now();
  }

  stop() {
    this.#controller.abort();
  }

  /**
   * Asks, and resolves when the answer is complete, failed or stopped.
   * @param {Record<string, unknown>} body
   * @param {import('./readiness.js').ReadinessWatch} readiness
   */
  ask(body, readiness) {
    return answer(this.turn, body, {
      signal: this.#controller.signal,
      watcher: {
        text: (text) => this.live?.text(text),
        reasoning: (text) => this.live?.reasoning(text),
      },
      modelReady: (signal) => readiness.whenReady(this.turn.model, signal),
    });
  }
}

/** Fires `change` (detail: the run) when one begins, ends, or has its stages measured. */
export class Runs extends EventTarget {
  /** @type {Map<string, Run>} by conversation */
  #runs = new Map();
  /** @type {Set<Run>} those of which something may still be kept: the stages of an answer come after its end */
  #unfinished = new Set();
  #store;
  #readiness;

  /**
   * @param {import('./store.js').ConversationStore} store
   * @param {import('./readiness.js').ReadinessWatch} readiness
   */
  constructor(store, readiness) {
    super();
    this.#store = store;
    this.#readiness = readiness;
    addEventListener('pagehide', () => {
      for (const run of this.#runs.values()) this.#save(run);
    });
  }

  /** @param {string} conversation its id */
  of(conversation) {
    return this.#runs.get(conversation) ?? null;
  }

  /** Ends the runs of a conversation that is about to be deleted. @param {string} conversation its id */
  drop(conversation) {
    for (const run of this.#unfinished) {
      if (run.conversation.id !== conversation) continue;
      run.dropped = true;
      run.live = null;
      run.stop();
    }
  }

  /**
   * @param {Conversation} conversation
   * @param {Answer} turn
   * @param {Record<string, unknown>} body
   * @returns {Run}
   */
  begin(conversation, turn, body) {
    const run = new Run(conversation, turn);
    this.#runs.set(conversation.id, run);
    this.#unfinished.add(run);
    this.#follow(run, body).finally(() => this.#unfinished.delete(run));
    return run;
  }

  /**
   * @param {Run} run
   * @param {Record<string, unknown>} body
   */
  async #follow(run, body) {
    const { conversation, turn } = run;
    const asking = run.ask(body, this.#readiness);
    await this.#save(run);
    this.#tell('begin', run);
    const saving = setInterval(() => this.#save(run), SAVE_EVERY_MS);
    await asking;
    clearInterval(saving);
    if (this.#runs.get(conversation.id) === run) this.#runs.delete(conversation.id);
    conversation.updated = Date.now();
    await this.#save(run);
    this.#tell('end', run);
    if (!turn.requestId || turn.error || turn.firstTokenMs === null) return;
    turn.stages = await stagesFromGateway(turn.requestId);
    if (!turn.stages) return;
    await this.#save(run);
    this.#tell('stages', run);
  }

  /** @param {Run} run */
  async #save(run) {
    if (!run.dropped) await this.#store.save(run.conversation);
  }

  /**
   * @param {'begin' | 'end' | 'stages'} what
   * @param {Run} run
   */
  #tell(what, run) {
    this.dispatchEvent(new CustomEvent('change', { detail: { what, run } }));
  }
}
