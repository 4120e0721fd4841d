/**
 * The side panel: the system prompt of what is shown, and sampling parameters for everything. Beside the page where there
 * is room, over it on a phone.
 */

import { announce, byId, make } from '../ui/dom.js';
import { PARAMETERS, readParameter } from './parameters.js';
import { recall, remember } from '../ui/storage.js';

const STORED = 'settings';
const ROOM = matchMedia('(min-width: 1200px)');

export class Settings {
  #panel = /** @type {HTMLDialogElement} */ (byId('settings'));
  #button = byId('settings-button');
  #instructions = /** @type {HTMLTextAreaElement} */ (byId('instructions'));
  /** @type {Map<string, {input: HTMLInputElement | HTMLTextAreaElement, show: () => string}>} */
  #fields = new Map();
  /** @type {{system: string} | null} whose system prompt is shown */
  #holder = null;

  constructor() {
    const stored = recall(localStorage, STORED) ?? {};
    this.#instructions.addEventListener('input', () => {
      if (this.#holder) this.#holder.system = this.#instructions.value;
    });
    for (const parameter of PARAMETERS) {
      const text = stored.parameters?.[parameter.name] ?? '';
      byId(parameter.rare ? 'rare-parameters' : 'parameters').append(this.#field(parameter, text));
    }
    byId('reset').addEventListener('click', () => this.#reset());
    this.#panel.addEventListener('close', () => this.#reflect());
    this.#panel.addEventListener('click', (event) => {
      if (event.target === this.#panel && !ROOM.matches) this.#panel.close();
    });
    ROOM.addEventListener('change', () => this.#panel.close());
    this.#reflect();
  }

  /** Shows the system prompt of a conversation, and writes into it what is typed. @param {{system: string}} holder */
  attach(holder) {
    this.#holder = holder;
    this.#instructions.value = holder.system;
  }

  /**
   * The parameters that are set, as they go into a request.
   * @returns {Record<string, number | string[]>}
   */
  get values() {
    /** @type {Record<string, number | string[]>} */
    const values = {};
    for (const parameter of PARAMETERS) {
      const { value } = readParameter(parameter, this.#text(parameter.name));
      if (value !== null) values[parameter.name] = value;
    }
    return values;
  }

  /**
   * Whether every parameter can be sent. If not, the first wrong one is shown.
   * @returns {boolean}
   */
  check() {
    for (const [name, { input, show }] of this.#fields) {
      if (!show()) continue;
      this.open();
      input.closest('details')?.setAttribute('open', '');
      this.#fields.get(name)?.input.focus();
      return false;
    }
    return true;
  }

  /** @param {string} [name] of the parameter to go to */
  open(name) {
    if (!this.#panel.open) {
      if (ROOM.matches) this.#panel.open = true;
      else this.#panel.showModal();
    }
    if (name) this.#fields.get(name)?.input.focus();
    this.#reflect();
  }

  close() {
    this.#panel.close();
    this.#reflect();
  }

  /** Opens it again where it was left open beside the page. */
  reopen() {
    if (!ROOM.matches || !(recall(localStorage, 'panel') ?? true)) return;
    this.#panel.open = true;
    this.#reflect();
  }

  toggle() {
    const { open } = this.#panel;
    if (open) this.#panel.close();
    else {
      this.open();
      this.#instructions.focus();
    }
    if (ROOM.matches) remember(localStorage, 'panel', !open);
    if (open) this.#button.focus();
  }

  #reflect() {
    this.#button.setAttribute('aria-expanded', String(this.#panel.open));
    document.body.classList.toggle('with-panel', this.#panel.open && ROOM.matches);
  }

  /** @param {string} name */
  #text(name) {
    return this.#fields.get(name)?.input.value ?? '';
  }

  #changed() {
    const parameters = Object.fromEntries([...this.#fields].map(([name, { input }]) => [name, input.value]));
    remember(localStorage, STORED, { parameters });
  }

  #reset() {
    for (const { input } of this.#fields.values()) {
      input.value = '';
      input.dispatchEvent(new Event('input'));
    }
    announce("All parameters are back to the model's defaults.");
  }

  /**
   * @param {import('./parameters.js').Parameter} parameter
   * @param {string} text
   */
  #field(parameter, text) {
    const { name, label, help, min, max, step, neutral, lines } = parameter;
    const id = `parameter-${name}`;
    const input = /** @type {HTMLInputElement | HTMLTextAreaElement} */ (
      make(lines ? 'textarea' : 'input', {
        id,
        value: text,
        placeholder: lines ? 'none' : 'default',
        autocomplete: 'off',
        'aria-describedby': `${id}-help ${id}-problem`,
        ...(lines ? { rows: 2 } : { inputMode: 'decimal', size: 8 }),
      })
    );
    const problem = make('p', { className: 'problem', id: `${id}-problem`, hidden: true });
    const slider =
      neutral === undefined
        ? null
        : /** @type {HTMLInputElement} */ (
            make('input', { type: 'range', min, max, step, 'aria-label': `${label} slider`, tabIndex: -1 })
          );
    const show = () => {
      const read = readParameter(parameter, input.value);
      problem.textContent = read.problem;
      problem.hidden = !read.problem;
      input.setAttribute('aria-invalid', String(Boolean(read.problem)));
      if (slider) {
        slider.value = String(read.value ?? neutral);
        slider.classList.toggle('unset', read.value === null);
      }
      return read.problem;
    };
    input.addEventListener('input', () => {
      show();
      this.#changed();
    });
    slider?.addEventListener('input', () => {
      input.value = slider.value;
      show();
      this.#changed();
    });
    this.#fields.set(name, { input, show });
    show();
    return make(
      'div',
      { className: lines ? 'field' : 'field number' },
      make('div', { className: 'field-head' }, make('label', { htmlFor: id }, label), !lines && input),
      lines ? input : slider,
      make('p', { className: 'hint', id: `${id}-help` }, help),
      problem,
    );
  }
}
