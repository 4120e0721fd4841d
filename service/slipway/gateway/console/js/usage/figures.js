/** Usage as numbers: pure. */

/**
 * A row of `GET /v1/usage` grouped by day and something else.
 * @typedef {{day: string, requests: number, failed: number, prompt_tokens: number, completion_tokens: number,
 *   cached_tokens: number, cost_usd: string, [group: string]: unknown}} UsageRow
 */

/** @typedef {{title: string, of: (row: UsageRow) => number}} Metric */

/** @type {Record<string, Metric>} */
export const METRICS = {
  tokens: { title: 'Tokens', of: (row) => row.prompt_tokens + row.completion_tokens },
  requests: { title: 'Requests', of: (row) => row.requests },
  cost: { title: 'Cost', of: (row) => Number(row.cost_usd) },
};

/** How many groups are shown apart; the rest is one. */
const MOST_GROUPS = 7;

/**
 * The last days, `YYYY-MM-DD` in UTC, today included.
 * @param {number} count
 * @param {number} now milliseconds since 1970
 */
export function lastDays(count, now) {
  return Array.from({ length: count }, (_, index) =>
    new Date(now - (count - 1 - index) * 86_400_000).toISOString().slice(0, 10),
  );
}

/**
 * The rows as one series a group, the largest first.
 * @param {UsageRow[]} rows
 * @param {string[]} days
 * @param {string} group the field that parts them
 * @param {Metric} metric
 * @returns {{name: string, values: number[]}[]}
 */
export function seriesOf(rows, days, group, metric) {
  /** @type {Map<string, number[]>} */
  const groups = new Map();
  for (const row of rows) {
    const position = days.indexOf(row.day);
    if (position < 0) continue;
    const name = String(row[group] || 'unknown');
    const values = groups.get(name) ?? Array(days.length).fill(0);
    values[position] += metric.of(row);
    groups.set(name, values);
  }
  const total = (/** @type {number[]} */ values) => values.reduce((sum, value) => sum + value, 0);
  const sorted = [...groups]
    .map(([name, values]) => ({ name, values }))
    .sort((one, other) => total(other.values) - total(one.values));
  if (sorted.length <= MOST_GROUPS + 1) return sorted;
  const rest = sorted.slice(MOST_GROUPS);
  const values = days.map((_, position) => rest.reduce((sum, each) => sum + each.values[position], 0));
  return [...sorted.slice(0, MOST_GROUPS), { name: `${rest.length} others`, values }];
}

/**
 * The rows added up by a field, the most expensive first, then the one with most tokens.
 * @param {UsageRow[]} rows
 * @param {string} group
 */
export function totalsOf(rows, group) {
  /** @type {Map<string, ReturnType<typeof sumOf>>} */
  const totals = new Map();
  for (const [name, own] of Object.entries(Object.groupBy(rows, (row) => String(row[group] || 'unknown'))))
    totals.set(name, sumOf(name, own ?? []));
  return [...totals.values()].sort(
    (one, other) => other.cost - one.cost || other.prompt + other.completion - (one.prompt + one.completion),
  );
}

/**
 * @param {string} name
 * @param {UsageRow[]} rows
 */
export function sumOf(name, rows) {
  const sum = { name, requests: 0, failed: 0, prompt: 0, cached: 0, completion: 0, cost: 0 };
  for (const row of rows) {
    sum.requests += row.requests;
    sum.failed += row.failed;
    sum.prompt += row.prompt_tokens;
    sum.cached += row.cached_tokens;
    sum.completion += row.completion_tokens;
    sum.cost += Number(row.cost_usd);
  }
  return sum;
}
