/** What keys and owners have in common, as fields of a form and as words: models, limits, priority, role. */

import { callJson, sentenceOf } from '../api/request.js';
import { badge, field, select } from '../ui/blocks.js';
import { box, confirm } from '../ui/dialogs.js';
import { announce, make } from '../ui/dom.js';
import { count, dollars } from '../ui/format.js';

/**
 * As the API has it; money as decimal strings.
 * @typedef {{requestsPerMinute?: number | null, tokensPerMinute?: number | null, tokensPerDay?: number | null,
 *   maxParallel?: number | null, budgetUSD?: {day?: string | null, week?: string | null, month?: string | null}}} Limits
 */

/** @type {[keyof Limits, string, string][]} */
const COUNTS = [
  ['requestsPerMinute', 'Requests a minute', 'requests/min'],
  ['tokensPerMinute', 'Tokens a minute', 'tokens/min'],
  ['tokensPerDay', 'Tokens a day', 'tokens/day'],
  ['maxParallel', 'Requests at the same time', 'at once'],
];
/** @type {['day' | 'week' | 'month', string][]} */
const BUDGETS = [
  ['day', 'Budget a day, US$'],
  ['week', 'Budget a week, US$'],
  ['month', 'Budget a month, US$'],
];

/** @param {Limits | null | undefined} limits @returns {string} */
export function limitsInWords(limits) {
  const parts = COUNTS.filter(([name]) => limits?.[name]).map(
    ([name, , words]) => `${count(Number(limits?.[name]))} ${words}`,
  );
  for (const [period] of BUDGETS) {
    const budget = limits?.budgetUSD?.[period];
    if (budget) parts.push(`${dollars(budget)} a ${period}`);
  }
  return parts.join(', ') || 'None';
}

/**
 * @param {string} name
 * @param {string} role of the key or owner that it belongs to
 */
export const withRole = (name, role) =>
  make('span', {}, name, role === 'admin' ? ' ' : null, role === 'admin' ? badge('warn', 'Admin') : null);

/** @param {string[] | undefined} models */
export const modelsInWords = (models) =>
  !models?.length ? 'None' : models.includes('*') ? 'All' : models.join(', ');

/**
 * A field of one line.
 * @param {string} id
 * @param {string | number | null | undefined} value
 * @param {Record<string, unknown>} [more]
 * @returns {HTMLInputElement}
 */
export const line = (id, value, more = {}) =>
  /** @type {HTMLInputElement} */ (
    make('input', { id, value: value ?? '', autocomplete: 'off', spellcheck: false, ...more })
  );

/**
 * @param {Limits} [limits]
 * @returns {{element: HTMLElement, read: () => Limits}}
 */
export function limitFields(limits = {}) {
  const inputs = new Map(
    COUNTS.map(([name]) => [
      name,
      line(`limit-${name}`, /** @type {number} */ (limits[name]), {
        inputMode: 'numeric',
        placeholder: 'no limit',
      }),
    ]),
  );
  const budgets = new Map(
    BUDGETS.map(([period]) => [
      period,
      line(`budget-${period}`, limits.budgetUSD?.[period], { inputMode: 'decimal', placeholder: 'no limit' }),
    ]),
  );
  return {
    element: make(
      'fieldset',
      {},
      make('legend', {}, 'Limits'),
      make(
        'div',
        { className: 'grid' },
        ...COUNTS.map(([name, label]) => field(label, /** @type {HTMLElement} */ (inputs.get(name)))),
        ...BUDGETS.map(([period, label]) => field(label, /** @type {HTMLElement} */ (budgets.get(period)))),
      ),
    ),
    read: () => ({
      ...Object.fromEntries(
        COUNTS.map(([name, label]) => [name, whole(label, inputs.get(name)?.value ?? '')]),
      ),
      budgetUSD: Object.fromEntries(
        BUDGETS.map(([period, label]) => [period, money(label, budgets.get(period)?.value ?? '')]),
      ),
    }),
  };
}

/** What was typed cannot be sent; the message says why, as a sentence. */
export class WrongInput extends Error {}

/**
 * @param {string} label
 * @param {string} text
 * @returns {number | null}
 */
function whole(label, text) {
  if (!text.trim()) return null;
  if (!/^\s*[1-9]\d*\s*$/.test(text))
    throw new WrongInput(`${label} is a whole number of 1 or more, or empty.`);
  return Number(text);
}

/**
 * @param {string} label
 * @param {string} text
 * @returns {string | null}
 */
function money(label, text) {
  if (!text.trim()) return null;
  if (!/^\s*\d+(\.\d{1,9})?\s*$/.test(text))
    throw new WrongInput(`${label} is an amount such as 12.50, or empty.`);
  return text.trim();
}

/** What went wrong with a form, in words. @param {unknown} error */
export const fault = (error) => (error instanceof WrongInput ? error.message : sentenceOf(error));

/**
 * Makes a key or an owner, or changes one.
 * @param {string} path of all of them
 * @param {{name: string} | null} there
 * @param {Record<string, unknown>} body
 * @returns {Promise<any>} what the API answered
 */
export const save = (path, there, body) =>
  there
    ? callJson(`${path}/${encodeURIComponent(there.name)}`, { method: 'PATCH', body })
    : callJson(path, { body });

/**
 * Deletes a key or an owner, if that is what is wanted.
 * @param {string} path of all of them
 * @param {string} name
 * @param {{title: string, text: string, button: string, done: string, failed: string}} words
 * @returns {Promise<boolean>} whether it was tried
 */
export async function removeAsked(path, name, { title, text, button, done, failed }) {
  if (!(await confirm({ title, text, button }))) return false;
  try {
    await callJson(`${path}/${encodeURIComponent(name)}`, { method: 'DELETE' });
    announce(done);
  } catch (error) {
    await box(failed, [make('p', {}, sentenceOf(error))], () => null, { button: 'Close', cancel: '' });
  }
  return true;
}

/** Names that stand in one line, with commas or spaces between. @param {string} text */
export const names = (text) => text.split(/[\s,]+/).filter(Boolean);

/** @param {string} chosen */
export const roleField = (chosen) =>
  field(
    'Role',
    select(
      'role',
      [
        ['member', 'Member: calls models, sees its own usage'],
        ['admin', 'Admin: sees and changes everything'],
      ],
      chosen,
    ),
  );

/** @param {string} chosen */
export const priorityField = (chosen) =>
  field(
    'Priority',
    select(
      'priority',
      [
        ['high', 'High'],
        ['normal', 'Normal'],
        ['low', 'Low'],
      ],
      chosen,
    ),
    'Who is served first when the engines are full.',
  );
