import { address } from './api.js';
import { copyButton } from './clipboard.js';
import { codeBlock } from './code.js';
import { byId, make } from './dom.js';
import { curlSnippet, pythonSnippet } from './snippets.js';

/** Shows the present settings as programs. */
export class UseDialog {
  #dialog = /** @type {HTMLDialogElement} */ (byId('use-dialog'));

  constructor() {
    const base = /** @type {HTMLInputElement} */ (byId('base-url'));
    base.value = address('v1');
    byId('base-url-copy').replaceWith(copyButton('Copy the base URL', () => base.value));
    /** @type {HTMLAnchorElement} */ (byId('reference')).href = address('openapi.json');
  }

  /** @param {Record<string, unknown>} body of the request that would be sent */
  open(body) {
    byId('snippets').replaceChildren(
      this.#snippet('curl', 'bash', curlSnippet(body)),
      this.#snippet('Python (package openai)', 'python', pythonSnippet(body)),
    );
    this.#dialog.showModal();
  }

  /**
   * @param {string} title
   * @param {string} language
   * @param {string} text
   */
  #snippet(title, language, text) {
    const block = codeBlock(language);
    block.show(text);
    block.finish();
    block.element.querySelector('.icon-button')?.setAttribute('aria-label', `Copy as ${title.split(' ')[0]}`);
    return make('section', {}, make('h3', {}, title), block.element);
  }
}
