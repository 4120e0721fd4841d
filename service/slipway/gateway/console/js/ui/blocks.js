/** The blocks that pages are put together from. */

import { sentenceOf } from '../api/request.js';
import { icon, make } from './dom.js';
import { moment } from './format.js';

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * A titled part of a page.
 * @param {string} title
 * @param {{hint?: string, tools?: Child[]}} [options]
 * @param {...Child} content
 */
export function section(title, { hint, tools = [] } = {}, ...content) {
  return make(
    'section',
    { className: 'block' },
    make(
      'div',
      { className: 'block-head' },
      make('div', {}, make('h2', {}, title), hint ? make('p', { className: 'hint' }, hint) : null),
      tools.length ? make('div', { className: 'row' }, ...tools) : null,
    ),
    ...content,
  );
}

/**
 * @param {string} label
 * @param {() => void} onclick
 * @param {{icon?: string, primary?: boolean, danger?: boolean}} [look]
 */
export function button(label, onclick, { icon: name, primary = false, danger = false } = {}) {
  const className = `${primary ? 'primary' : 'plain'}${danger ? ' danger' : ''}`;
  return make('button', { type: 'button', className, onclick }, name ? icon(name) : null, label);
}

/**
 * A word in a coloured frame; the colour says nothing that the word does not.
 * @param {'good' | 'warn' | 'bad' | 'plain'} kind
 * @param {string} text
 */
export const badge = (kind, text) => make('span', { className: `badge badge-${kind}` }, text);

/** A moment that stays in one line. @param {number | string | null | undefined} time as `moment` takes it */
export const when = (time) => make('span', { className: 'nowrap' }, moment(time));

/** What stands where there is nothing yet. @param {string} sentence @param {...Child} more */
export const nothing = (sentence, ...more) =>
  make('div', { className: 'nothing' }, make('p', {}, sentence), ...more);

/**
 * Names and values.
 * @param {[string, Child][]} rows those without a value are left out
 */
export function facts(rows) {
  const shown = rows.filter(([, value]) => value);
  return make(
    'dl',
    { className: 'facts' },
    ...shown.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]),
  );
}

/**
 * Fills an element with what is loaded. Says that it waits, and what went wrong as a sentence with a way to try again.
 * @template T
 * @param {HTMLElement} root
 * @param {() => Promise<T>} load
 * @param {(loaded: T) => Child[]} show
 * @returns {Promise<void>}
 */
export async function fill(root, load, show) {
  root.setAttribute('aria-busy', 'true');
  if (!root.hasChildNodes())
    root.append(
      make('p', { className: 'loading', role: 'status' }, make('span', { className: 'pulse' }), 'Loading…'),
    );
  try {
    const loaded = await load();
    root.replaceChildren(
      ...show(loaded).filter((child) => child instanceof Node || typeof child === 'string'),
    );
  } catch (error) {
    const again = button('Try again', () => fill(root, load, show), { icon: 'retry' });
    root.replaceChildren(
      make('div', { className: 'error', role: 'alert' }, make('p', {}, sentenceOf(error)), again),
    );
  }
  root.removeAttribute('aria-busy');
}

/**
 * A field of a form.
 * @param {string} label
 * @param {HTMLElement} input that has an id
 * @param {string} [hint]
 */
export function field(label, input, hint) {
  if (hint) input.setAttribute('aria-describedby', `${input.id}-hint`);
  return make(
    'div',
    { className: 'field' },
    make('label', { htmlFor: input.id }, label),
    input,
    hint ? make('p', { className: 'hint', id: `${input.id}-hint` }, hint) : null,
  );
}

/**
 * @param {string} id
 * @param {[string, string][]} options value and what is shown
 * @param {string} chosen
 * @param {(value: string) => void} [onchange]
 */
export function select(id, options, chosen, onchange) {
  const element = /** @type {HTMLSelectElement} */ (
    make('select', { id }, ...options.map(([value, text]) => make('option', { value }, text)))
  );
  element.value = chosen;
  if (onchange) element.addEventListener('change', () => onchange(element.value));
  return element;
}
