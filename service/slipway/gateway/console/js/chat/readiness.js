/** Asks `/readyz` while something is starting, and says when it is ready. */

import { address } from '../api/request.js';

const EVERY_MS = 1500;
/** Where some model is ready, the others are not that urgent. */
const SELDOM_MS = 5000;

/**
 * @typedef {object} Progress
 * @property {boolean} ready
 * @property {string} message what happens, as a sentence
 * @property {number | null} part done so far, 0 to 1
 */

/** @typedef {Progress & {some: boolean, models: Map<string, Progress>}} Readiness some: whether any model is ready */

export class ReadinessWatch extends EventTarget {
  /** @type {Readiness} */
  state = { ready: true, some: true, message: '', part: null, models: new Map() };
  #timer = 0;
  /** @type {Promise<void> | null} */
  #looking = null;

  /** Looks now, and again until all is ready; then it rests until it is called the next time. */
  look() {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  async #look() {
    clearTimeout(this.#timer);
    const before = this.state;
    this.state = await ask();
    if (!this.state.ready)
      this.#timer = setTimeout(() => this.look(), this.state.some ? SELDOM_MS : EVERY_MS);
    this.dispatchEvent(
      new CustomEvent('change', { detail: { becameReady: this.state.ready && !before.ready } }),
    );
  }

  /**
   * What is known of one model.
   * @param {string} model
   * @returns {Progress}
   */
  of(model) {
    return this.state.models.get(model) ?? this.state;
  }

  /**
   * Waits for a model that is starting.
   * @param {string} model
   * @param {AbortSignal} signal
   * @returns {Promise<boolean>} false if it was not starting, or the wait was given up
   */
  async whenReady(model, signal) {
    const wasStarting = !this.of(model).ready;
    await this.look();
    if (this.of(model).ready) return wasStarting;
    return new Promise((resolve) => {
      const settle = () => {
        if (!signal.aborted && !this.of(model).ready) return;
        this.removeEventListener('change', settle);
        signal.removeEventListener('abort', settle);
        resolve(!signal.aborted);
      };
      this.addEventListener('change', settle);
      signal.addEventListener('abort', settle);
    });
  }
}

/** @returns {Promise<Readiness>} */
async function ask() {
  try {
    const response = await fetch(address('readyz'), { credentials: 'omit', cache: 'no-store' });
    return understand(response.status, await response.json().catch(() => null));
  } catch {
    const message = 'The gateway cannot be reached. Trying again.';
    return { ready: false, some: false, message, part: null, models: new Map() };
  }
}

/**
 * Reads what `/readyz` says: `{ready, reason, models: [{name, ready, reason}]}`. While a model starts, `stage`, `done`,
 * `total` and `eta_s` may stand beside, as the engine reports them.
 * @param {number} status
 * @param {any} body
 * @returns {Readiness}
 */
export function understand(status, body) {
  const some = status < 500;
  /** @type {Map<string, Progress>} */
  const models = new Map(
    (body?.models ?? []).map((/** @type {any} */ model) => [model.name, progressOf(model)]),
  );
  const waiting = [...models.values()].filter((model) => !model.ready);
  const message =
    waiting[0]?.message ?? sentence(body?.reason ?? body?.error?.message ?? 'the gateway is starting');
  return { ready: some && !waiting.length, some, message, part: waiting[0]?.part ?? null, models };
}

/**
 * @param {any} model
 * @returns {Progress}
 */
function progressOf(model) {
  const { ready, reason, stage, done, total, eta_s: eta } = model;
  const part = total > 0 ? Math.min(1, done / total) : null;
  const parts = [
    STAGES[/** @type {keyof typeof STAGES} */ (stage)] ?? sentence(reason ?? 'starting').replace(/\.$/, ''),
  ];
  if (part !== null) parts.push(`${Math.round(part * 100)} %`);
  if (eta > 0) parts.push(`about ${Math.ceil(eta)} s left`);
  return { ready, message: `${parts.join(', ')}.`, part };
}

const STAGES = {
  resolve: 'Looking the model up',
  download: 'Downloading the model',
  convert: 'Converting the weights',
  import: 'Starting the engine',
  load: 'Loading the weights',
};

/** A reason as a sentence of its own. That one may try again goes without saying: the console does. @param {string} reason */
function sentence(reason) {
  const kept = reason.replace(/\s*Try again[^.]*\.$/, '').replace(/\.$/, '');
  return `${kept.charAt(0).toUpperCase()}${kept.slice(1)}.`;
}
