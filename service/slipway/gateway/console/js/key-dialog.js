import { announce, byId } from './dom.js';
import { currentKey, isRemembered, keepKey } from './keys.js';

/** The box for the API key. Says why it opened when the gateway refused the last one. */
export class KeyDialog extends EventTarget {
  #dialog = /** @type {HTMLDialogElement} */ (byId('key-dialog'));
  #input = /** @type {HTMLInputElement} */ (byId('key'));
  #always = /** @type {HTMLInputElement} */ (byId('key-remember'));
  #problem = byId('key-problem');

  constructor() {
    super();
    byId('key-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#use(this.#input.value.trim());
    });
    byId('key-forget').addEventListener('click', () => this.#use(''));
    this.#always.addEventListener('change', () => this.#explain());
    byId('key-show').addEventListener('click', () => this.#reveal(this.#input.type === 'password'));
  }

  /**
   * @param {string} [problem] why it opens
   * @param {boolean} [wrong] whether the key that is there is the problem
   */
  open(problem = '', wrong = false) {
    this.#input.value = currentKey();
    this.#always.checked = isRemembered();
    this.#problem.textContent = problem;
    this.#problem.hidden = !problem;
    this.#problem.classList.toggle('mild', !wrong);
    this.#input.setAttribute('aria-invalid', String(wrong));
    byId('key-forget').hidden = !currentKey();
    this.#reveal(false);
    this.#explain();
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#input.focus();
    this.#input.select();
  }

  /**
   * Opens because the gateway answered 401.
   * @param {string} message what the gateway said
   */
  refused(message) {
    if (currentKey()) this.open(`The gateway did not accept this key. ${message}`, true);
    else this.open('This gateway asks for a key. Whoever runs it can give you one.');
  }

  /** @param {string} key */
  #use(key) {
    keepKey(key, this.#always.checked);
    this.#dialog.close();
    announce(key ? 'The key is set.' : 'The key is forgotten.');
    this.dispatchEvent(new Event('change'));
  }

  /** @param {boolean} visible */
  #reveal(visible) {
    this.#input.type = visible ? 'text' : 'password';
    byId('key-show').setAttribute('aria-pressed', String(visible));
  }

  #explain() {
    const fate = this.#always.checked
      ? 'kept in this browser until you forget it'
      : 'forgotten when the tab is closed';
    byId('key-hint').textContent = `It is sent to this gateway only, and ${fate}.`;
  }
}
