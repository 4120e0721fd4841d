/** Numbers, times and money as people read them. */

/** @param {number} ms */
export function duration(ms) {
  if (ms < 1) return ms > 0 ? '< 1 ms' : '0 ms';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** With separators: 12,345. @param {number} value */
export const count = (value) => WHOLE.format(value);

/** As short as can be: 12.3K. @param {number} value */
export const short = (value) => SHORT.format(value);

/** US dollars, with as many digits as small sums need. @param {number | string} value */
export function dollars(value) {
  const amount = Number(value);
  const digits =
    amount !== 0 && Math.abs(amount) < 0.995 ? Math.min(6, 2 - Math.floor(Math.log10(Math.abs(amount)))) : 2;
  return `$${amount.toLocaleString('en', { minimumFractionDigits: 2, maximumFractionDigits: Math.max(2, digits) })}`;
}

/**
 * A moment in the person's own time zone.
 * @param {number | string | null | undefined} when seconds since 1970, or RFC 3339
 */
export function moment(when) {
  if (when === null || when === undefined || when === '') return '–';
  const date = new Date(typeof when === 'number' ? when * 1000 : when);
  return Number.isNaN(date.getTime())
    ? String(when)
    : date.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
}

/** Time from now until then, roughly: "in 12 s", "in 3 h". @param {number} seconds */
export function fromNow(seconds) {
  if (seconds <= 1) return 'now';
  if (seconds < 90) return `in ${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `in ${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `in ${Math.round(seconds / 3600)} h`;
  return `in ${Math.round(seconds / 86_400)} days`;
}
