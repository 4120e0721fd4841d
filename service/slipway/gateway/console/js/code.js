import { copyButton } from './clipboard.js';
import { make } from './dom.js';
import { highlight } from './highlight.js';

/**
 * A code block with its language and a copy button, which can grow while it is being written.
 * @param {string} language as written after the fence, or ''
 * @returns {{element: HTMLElement, show: (text: string) => void, finish: () => void}}
 */
export function codeBlock(language) {
  const text = document.createTextNode('');
  const code = make('code', {}, text);
  const element = make(
    'div',
    { className: 'code' },
    make(
      'div',
      { className: 'code-head' },
      make('span', {}, language || 'text'),
      copyButton('Copy code', () => code.textContent ?? ''),
    ),
    make('pre', { tabIndex: 0, 'aria-label': language ? `Code, ${language}` : 'Code' }, code),
  );
  return {
    element,
    show(all) {
      if (all.startsWith(text.data)) text.appendData(all.slice(text.data.length));
      else text.data = all;
    },
    finish() {
      const coloured = highlight(text.data, language);
      if (coloured) code.replaceChildren(coloured);
    },
  };
}
