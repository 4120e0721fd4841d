/** Lists that come page by page: more of them at the end of a button. */

import { callJson } from '../api/request.js';
import { button, fill } from './blocks.js';

/** Most that the API gives at once. */
const MOST = 1000;

/**
 * Fills an element with a list of the API, and with a button for more where there is more.
 * @param {HTMLElement} root
 * @param {string} path relative, `v1/…`
 * @param {number} size of a page
 * @param {(rows: any[]) => import('./blocks.js').Child[]} show
 * @returns {() => Promise<void>} reads anew as much as is shown
 */
export function paged(root, path, size, show) {
  /** @type {any[]} */
  let rows = [];
  /** @param {any[]} before @param {number} limit */
  const load = async (before, limit) => {
    const after = before.at(-1)?.id;
    const { data, has_more: more } = await callJson(path, { query: { limit, after } });
    rows = [...before, ...data];
    return more;
  };
  const next = () => fill(root, () => load(rows, size), list);
  const list = (/** @type {boolean} */ more) => [...show(rows), more ? button('More', next) : null];
  const again = () => fill(root, () => load([], Math.min(Math.max(size, rows.length), MOST)), list);
  again();
  return again;
}
