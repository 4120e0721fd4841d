/** The models that can be asked, and the picker in the bar. */

import { callJson } from '../api/request.js';
import { byId, make } from '../ui/dom.js';
import { recall, remember } from '../ui/storage.js';

/**
 * What admins are told of a model's service.
 * @typedef {{reason: string, message: string, replicas: number, ready_replicas: number, phase: string | null,
 *   revisions: {revision: string, role: string | null, weight: number | null, ready: number}[]}} Status
 */

/**
 * A row of `GET /v1/models`.
 * @typedef {{id: string, task?: string, ready?: boolean, reason?: string | null, parent?: string | null,
 *   created?: number, owned_by?: string, state?: string | null, status?: Status | null}} Model
 */

/** @returns {Promise<Model[]>} */
export const listModels = async () => (await callJson('v1/models')).data;

/** Whether a model can chat: one that says another task than `generate` (an embedding model) cannot. @param {Model} model */
export const canChat = ({ task }) => !task || task === 'generate';

/** Fires `change` when another model is chosen or the list is another. */
export class ModelPicker extends EventTarget {
  #select = /** @type {HTMLSelectElement} */ (byId('model'));
  #dot = byId('model-dot');
  /** @type {string[]} */
  models = [];
  /** The gateway answered, and serves no model that can chat. */
  empty = false;

  constructor() {
    super();
    this.#select.addEventListener('change', () => {
      remember(localStorage, 'model', this.#select.value);
      this.dispatchEvent(new Event('change'));
    });
  }

  /** The model that is chosen, or ''. */
  get chosen() {
    return this.models.length ? this.#select.value : '';
  }

  /** Chooses a model, if it is there. @param {string} model */
  choose(model) {
    if (!this.models.includes(model) || model === this.chosen) return;
    this.#select.value = model;
    this.dispatchEvent(new Event('change'));
  }

  /**
   * Asks the gateway again. The choice stays while the model is there.
   * @throws {import('../api/request.js').ApiError}
   */
  async refresh() {
    const wanted = this.chosen || recall(localStorage, 'model');
    try {
      this.models = (await listModels()).filter(canChat).map(({ id }) => id);
      this.empty = !this.models.length;
    } catch (error) {
      if (!this.models.length) this.#say('No models');
      throw error;
    }
    if (this.models.length) {
      this.#select.replaceChildren(...this.models.map((model) => make('option', { value: model }, model)));
      this.#select.value = this.models.includes(wanted) ? wanted : this.models[0];
      this.#select.disabled = false;
    } else this.#say('No chat model');
    this.dispatchEvent(new Event('change'));
  }

  /** Forgets the models: somebody else is signed in. */
  forget() {
    this.models = [];
    this.empty = false;
    this.#say('Looking for models…');
  }

  /** @param {'ready' | 'starting' | 'none'} state */
  mark(state) {
    this.#dot.dataset.state = state;
    this.#select.title = state === 'starting' ? 'This model is starting' : '';
  }

  /** @param {string} text */
  #say(text) {
    this.#select.replaceChildren(make('option', {}, text));
    this.#select.disabled = true;
  }
}
