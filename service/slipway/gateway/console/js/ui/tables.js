/**
 * Tables, each with a caption for screen readers. On a phone every row is a card whose cells say their column; the roles
 * are written out, because such a layout takes them away from the elements.
 */

import { make } from './dom.js';

/**
 * @template T
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: T) => Node | string | null} cell
 * @property {boolean} [number] right-aligned
 * @property {boolean} [quiet] its title is for screen readers only
 */

/**
 * @template T
 * @param {string} caption
 * @param {Column<T>[]} columns the first names the row
 * @param {T[]} rows
 * @param {T | null} [total] a last row
 * @returns {HTMLElement}
 */
export function table(caption, columns, rows, total = null) {
  const line = (/** @type {T} */ row) =>
    make(
      'tr',
      { role: 'row' },
      ...columns.map(({ title, cell, number }, index) =>
        make(
          index ? 'td' : 'th',
          {
            className: number ? 'number' : '',
            'data-title': title,
            ...(index ? { role: 'cell' } : { role: 'rowheader', scope: 'row' }),
          },
          cell(row) ?? '–',
        ),
      ),
    );
  const head = columns.map(({ title, number, quiet }) =>
    make(
      'th',
      { role: 'columnheader', scope: 'col', className: number ? 'number' : '' },
      quiet ? make('span', { className: 'visually-hidden' }, title) : title,
    ),
  );
  return make(
    'div',
    { className: 'table-frame', role: 'region', tabIndex: 0, 'aria-label': caption },
    make(
      'table',
      { className: 'data', role: 'table', 'aria-label': caption },
      make('thead', { role: 'rowgroup' }, make('tr', { role: 'row' }, ...head)),
      make('tbody', { role: 'rowgroup' }, ...rows.map(line)),
      total ? make('tfoot', { role: 'rowgroup' }, line(total)) : null,
    ),
  );
}
