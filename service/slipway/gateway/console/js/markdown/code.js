import { copyButton } from '../ui/clipboard.js';
import { make } from '../ui/dom.js';
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
    make('pre', { tabIndex: 0, role: 'group', 'aria-label': language ? `Code, ${language}` : 'Code' }, code),
  );
  return {
    element,
    show(all) {
      if (all.startsWith(text.data)) text.appendData(all.slice(text.data.length));
      else text.data = all;
    },
    finish() {
      const written = text.data;
      highlight(written, language).then(
        (coloured) => {
          if (coloured && text.data === written) code.replaceChildren(coloured);
        },
        () => {}, // The library could not be loaded: the code stays as it is.
      );
    },
  };
}
