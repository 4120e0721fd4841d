import { listModels } from './api.js';
import { byId, make } from './dom.js';
import { recall, remember } from './storage.js';

/** The model picker in the header. */
export class ModelPicker extends EventTarget {
  #select = /** @type {HTMLSelectElement} */ (byId('model'));
  #dot = byId('model-dot');
  /** @type {string[]} */
  #models = [];
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
    return this.#models.length ? this.#select.value : '';
  }

  /**
   * Asks the gateway again. The choice stays while the model is there.
   * @param {string} key
   * @throws {import('./api.js').ApiError}
   */
  async refresh(key) {
    const wanted = this.chosen || recall(localStorage, 'model');
    try {
      this.#models = await listModels(key);
      this.empty = !this.#models.length;
    } catch (error) {
      if (!this.#models.length) this.#say('No models');
      throw error;
    }
    if (this.#models.length) {
      this.#select.replaceChildren(...this.#models.map((model) => make('option', { value: model }, model)));
      this.#select.value = this.#models.includes(wanted) ? wanted : this.#models[0];
      this.#select.disabled = false;
    } else this.#say('No chat model');
    this.dispatchEvent(new Event('change'));
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
