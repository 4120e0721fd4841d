/** Shows a request as programs, one tab each. */

import { address } from '../api/request.js';
import { codeBlock } from '../markdown/code.js';
import { copyButton } from '../ui/clipboard.js';
import { byId, make } from '../ui/dom.js';
import { recall, remember } from '../ui/storage.js';
import { tabs } from '../ui/tabs.js';
import { curlSnippet, environmentSnippet, javaScriptSnippet, pythonSnippet } from './snippets.js';

const PROGRAMS = [
  { name: 'curl', language: 'bash', write: curlSnippet, hint: '' },
  { name: 'Python', language: 'python', write: pythonSnippet, hint: 'pip install openai' },
  { name: 'JavaScript', language: 'javascript', write: javaScriptSnippet, hint: 'npm install openai' },
  { name: 'Environment', language: 'bash', write: environmentSnippet, hint: 'For tools and coding agents' },
];

export class UseDialog {
  #dialog = /** @type {HTMLDialogElement} */ (byId('use-dialog'));

  constructor() {
    const base = /** @type {HTMLInputElement} */ (byId('base-url'));
    base.value = address('v1');
    byId('base-url-copy').replaceWith(copyButton('Copy the base URL', () => base.value));
    /** @type {HTMLAnchorElement} */ (byId('reference')).href = address('openapi.json');
  }

  /** @param {Record<string, unknown>} body of a request */
  open(body) {
    const panels = PROGRAMS.map(({ name, language, write, hint }) => {
      const block = codeBlock(language);
      block.show(write(body));
      block.finish();
      block.element.querySelector('.icon-button')?.setAttribute('aria-label', `Copy as ${name}`);
      const note = hint && make('p', { className: 'hint' }, hint);
      return { name, content: make('div', {}, block.element, note) };
    });
    const chosen = recall(localStorage, 'program') ?? 0;
    byId('snippets').replaceChildren(
      tabs('Language', panels, chosen, (index) => remember(localStorage, 'program', index)),
    );
    this.#dialog.showModal();
  }
}
