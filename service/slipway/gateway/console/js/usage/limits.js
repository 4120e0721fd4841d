/** The limits of who is signed in, each as a meter with what is left. */

import { make } from '../ui/dom.js';
import { count, dollars, fromNow } from '../ui/format.js';
import { badge } from '../ui/blocks.js';

/**
 * A level of `GET /v1/limits`; money in US dollars as decimal strings.
 * @typedef {{subject: 'key' | 'model' | 'owner', name: string, model: string | null, limit: string,
 *   amount: number | string, used: number | string, remaining: number | string, resets_at: number | null}} Level
 *   resets_at: seconds since 1970
 */

/** @type {Record<string, {title: string, money?: boolean}>} */
const NAMES = {
  requests_per_minute: { title: 'Requests a minute' },
  tokens_per_minute: { title: 'Tokens a minute' },
  tokens_per_day: { title: 'Tokens a day' },
  max_parallel: { title: 'Requests at the same time' },
  budget_day: { title: 'Budget of the day', money: true },
  budget_week: { title: 'Budget of the week', money: true },
  budget_month: { title: 'Budget of the month', money: true },
};

/** Whom a limit holds for, in words. @param {Level} level */
function whose({ subject, name, model }) {
  if (subject === 'owner') return `all keys of ${name} together`;
  return model ? `this key, on the model ${model}` : 'this key';
}

/**
 * @param {Level} level
 * @param {number} now milliseconds since 1970
 */
export function meter(level, now) {
  const { title, money = false } = NAMES[level.limit] ?? { title: level.limit.replaceAll('_', ' ') };
  const show = (/** @type {number | string} */ value) => (money ? dollars(value) : count(Number(value)));
  const part = Number(level.amount) > 0 ? Number(level.used) / Number(level.amount) : 0;
  const state = part >= 1 ? 'bad' : part >= 0.8 ? 'warn' : 'good';
  const who = whose(level);
  const bar = /** @type {HTMLMeterElement} */ (
    make('progress', {
      className: `meter meter-${state}`,
      max: 1,
      value: Math.min(part, 1),
      'aria-label': `${title}, ${who}`,
    })
  );
  const resets = level.resets_at ? fromNow(level.resets_at - now / 1000) : '';
  return make(
    'li',
    { className: 'limit' },
    make('h3', {}, title),
    make('p', { className: 'hint' }, `For ${who}`),
    make(
      'p',
      { className: 'limit-left' },
      make('b', {}, show(level.remaining)),
      `left of ${show(level.amount)}`,
      part >= 1 ? badge('bad', 'Used up') : part >= 0.8 ? badge('warn', 'Low') : null,
    ),
    bar,
    make(
      'p',
      { className: 'hint' },
      `${show(level.used)} used${resets && Number(level.used) > 0 ? `, full again ${resets}` : ''}`,
    ),
  );
}
