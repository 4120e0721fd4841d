/** Asks `/readyz` while something is starting, and says when it is ready. */

import { address } from './api.js';

const EVERY_MS = 1500;

/**
 * @typedef {object} Progress
 * @property {boolean} ready
 * @property {string} message what happens, as a sentence
 * @property {number | null} part done so far, 0 to 1
 */

/** @typedef {Progress & {models: Map<string, Progress>}} Readiness */

export class ReadinessWatch extends EventTarget {
  /** @type {Readiness} */
  state = { ready: true, message: '', part: null, models: new Map() };
  #timer = 0;
  #running = false;

  /** Looks now, and again until all is ready; then it rests until it is called the next time. */
  async look() {
    if (this.#running) return;
    this.#running = true;
    clearTimeout(this.#timer);
    const before = this.state;
    this.state = await ask();
    this.#running = false;
    if (!this.state.ready) this.#timer = setTimeout(() => this.look(), EVERY_MS);
    this.dispatchEvent(new CustomEvent('change', { detail: { becameReady: this.state.ready && !before.ready } }));
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
   * @returns {Promise<boolean>} false if it is not starting, or the wait was given up
   */
  async whenReady(model, signal) {
    await this.look();
    if (this.of(model).ready) return false;
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
    return { ready: false, message: 'The gateway cannot be reached. Trying again.', part: null, models: new Map() };
  }
}

/**
 * Reads what `/readyz` says: `models` is a list of `{id, ready, message, stage, done, total, eta_s}` or an object of
 * them by name; of a model whatever is missing is filled with what is known.
 * @param {number} status
 * @param {any} body
 * @returns {Readiness}
 */
export function understand(status, body) {
  const ready = status < 500;
  const listed = body?.models ?? [];
  const entries = Array.isArray(listed)
    ? listed.map((model) => [model.id ?? model.name, model])
    : Object.entries(listed);
  const models = new Map(entries.map(([name, model]) => [name, progressOf(model)]));
  const said = body?.error?.message ?? body?.message ?? '';
  const waiting = [...models].filter(([, model]) => !model.ready);
  const only = waiting.length === 1 ? waiting[0][1] : null;
  const message = said || only?.message || 'The gateway is starting.';
  return { ready: ready && !waiting.length, message, part: only?.part ?? null, models };
}

/**
 * @param {any} model
 * @returns {Progress}
 */
function progressOf(model) {
  if (typeof model === 'boolean') return { ready: model, message: 'Starting.', part: null };
  const ready = model?.ready ?? model?.state === 'ready';
  const progress = model?.progress ?? model ?? {};
  const part = progress.total > 0 ? Math.min(1, progress.done / progress.total) : null;
  let message = model?.message || stageName(progress.stage);
  if (part !== null && !message.includes('%')) message = `${message.replace(/\.$/, '')}, ${Math.round(part * 100)} %`;
  if (progress.eta_s > 0) message += `, about ${Math.ceil(progress.eta_s)} s left`;
  return { ready, message, part };
}

/** @param {string | undefined} stage */
function stageName(stage) {
  const names = {
    resolve: 'Looking the model up',
    download: 'Downloading the model',
    convert: 'Converting the weights',
    import: 'Starting the engine',
    load: 'Loading the weights',
  };
  return names[/** @type {keyof typeof names} */ (stage)] ?? 'Starting';
}
