/** Markdown to DOM nodes that are safe to show. Nothing a model writes can run, load or restyle anything. */

import createDOMPurify from '../../vendor/dompurify.js';
import { Lexer, Marked } from '../../vendor/marked.js';
import { codeBlock } from './code.js';
import { make } from '../ui/dom.js';

/** Tags without attributes that models use inside Markdown; any other raw HTML is shown as it was written. */
const PLAIN_TAGS = /&lt;(\/?(?:br|sub|sup|kbd|mark|u|small|b|i))\s*\/?&gt;/gi;

const SANITIZE = {
  RETURN_DOM_FRAGMENT: true,
  ALLOWED_TAGS:
    'a b blockquote br code del em h3 h4 h5 h6 hr i input kbd li mark ol p pre small strong sub sup table tbody td th thead tr u ul'.split(
      ' ',
    ),
  ALLOWED_ATTR: ['href', 'title', 'align', 'start', 'type', 'checked', 'disabled', 'class'],
  ADD_URI_SAFE_ATTR: ['align', 'start', 'type', 'checked', 'disabled'],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
};

const OPTIONS = { gfm: true, breaks: true };

/** @param {string} text */
const escape = (text) =>
  text
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
    .replaceAll('&#60;', '&lt;')
    .replaceAll('&#62;', '&gt;');

/** @param {string} html */
const showHtml = (html) => escape(html).replace(PLAIN_TAGS, '<$1>');

/** marked calls these with `this.parser` set. @type {any} */
const RENDERER = {
  html(/** @type {any} */ { text, block }) {
    return block ? `<p>${showHtml(text.trim()).replaceAll('\n', '<br>')}</p>` : showHtml(text);
  },
  // Pictures of other hosts would tell them who reads: they become links.
  image(/** @type {any} */ { href, text }) {
    return `<a href="${escape(href)}">${escape(text || href)}</a>`;
  },
  // The page's own headings are level 1 and 2.
  heading(/** @type {any} */ { tokens, depth }) {
    const level = Math.min(depth + 2, 6);
    return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
  },
};

const marked = new Marked({ ...OPTIONS, renderer: RENDERER });

/**
 * Splits Markdown into blocks. The `raw` of the blocks, one after the other, is the source again.
 * @param {string} source with \n line ends
 * @param {Record<string, any>} links definitions of link references known so far; new ones are added
 * @returns {any[]} tokens
 */
export function blocks(source, links) {
  const lexer = /** @type {any} */ (new Lexer({ ...marked.defaults, ...OPTIONS }));
  lexer.tokens.links = links;
  return lexer.lex(source);
}

/**
 * Renders blocks.
 * @param {any[]} tokens
 * @returns {DocumentFragment}
 */
export function render(tokens) {
  const html = marked.parser(tokens);
  return dress(/** @type {DocumentFragment} */ (/** @type {unknown} */ (sanitize(html))));
}

/**
 * The second line of defence, behind the renderer that lets no raw HTML through.
 * @param {string} html
 * @returns {DocumentFragment}
 */
export function sanitize(html) {
  return /** @type {any} */ (createDOMPurify).sanitize(html, SANITIZE);
}

/** @param {DocumentFragment} fragment */
function dress(fragment) {
  for (const link of fragment.querySelectorAll('a[href]')) {
    link.setAttribute('target', '_blank');
    link.setAttribute('rel', 'noopener noreferrer');
  }
  for (const box of fragment.querySelectorAll('input')) {
    if (box.type !== 'checkbox') box.remove();
    box.disabled = true;
    box.setAttribute('aria-label', box.checked ? 'Done' : 'Not done');
  }
  for (const pre of fragment.querySelectorAll('pre')) {
    const language = /language-(\S+)/.exec(pre.firstElementChild?.className ?? '')?.[1] ?? '';
    const block = codeBlock(language);
    block.show(pre.textContent?.replace(/\n$/, '') ?? '');
    block.finish();
    pre.replaceWith(block.element);
  }
  for (const table of fragment.querySelectorAll('table')) {
    const frame = make('div', {
      className: 'table-frame',
      role: 'region',
      tabIndex: 0,
      'aria-label': 'Table',
    });
    table.replaceWith(frame);
    frame.append(table);
  }
  return fragment;
}
