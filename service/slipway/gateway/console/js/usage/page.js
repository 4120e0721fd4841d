/** Usage: what is left of each limit, and what was used, as a chart and as tables. */

import { callJson } from '../api/request.js';
import { fill, nothing, section, select } from '../ui/blocks.js';
import { longDay, stackedBars } from '../ui/charts.js';
import { make } from '../ui/dom.js';
import { count, dollars, short } from '../ui/format.js';
import { table } from '../ui/tables.js';
import { lastDays, METRICS, seriesOf, sumOf, totalsOf } from './figures.js';
import { meter } from './limits.js';
import { requestLookUp } from './request.js';

const LIMITS_EVERY_MS = 5000;

/** @type {import('../app.js').Page} */
export const page = {
  title: 'Usage',
  mount(root, { session, route }) {
    const limits = make('div');
    const usage = make('div');
    root.append(
      section('Limits', { hint: 'What may be used, and what is left of it now.' }, limits),
      usage,
      requestLookUp(route.query.get('request') ?? ''),
    );
    const refresh = () => fill(limits, loadLimits, showLimits);
    refresh();
    const timer = setInterval(() => {
      if (!document.hidden) refresh();
    }, LIMITS_EVERY_MS);
    const view = usageView(usage, session.isAdmin);
    return () => {
      clearInterval(timer);
      view.end();
    };
  },
};

const loadLimits = () => callJson('v1/limits');

/** @param {{data: import('./limits.js').Level[]}} loaded */
function showLimits({ data }) {
  if (!data.length) return [nothing('Nothing limits this key.')];
  return [make('ul', { className: 'limits' }, ...data.map((level) => meter(level, Date.now())))];
}

/**
 * @param {HTMLElement} root
 * @param {boolean} admin
 */
function usageView(root, admin) {
  const choice = { days: '30', group: 'model', metric: 'tokens' };
  const content = make('div');
  /** @type {() => void} */
  let endChart = () => {};

  const load = () => {
    const days = lastDays(Number(choice.days), Date.now());
    return fill(
      content,
      async () => ({ days, rows: await rowsOf(days, choice.group) }),
      (loaded) => show(loaded),
    );
  };

  /** @param {{days: string[], rows: import('./figures.js').UsageRow[]}} loaded */
  const show = ({ days, rows }) => {
    endChart();
    const metric = METRICS[choice.metric];
    const money = choice.metric === 'cost';
    const series = seriesOf(rows, days, choice.group, metric);
    const totals = totalsOf(rows, choice.group);
    const sum = sumOf('Total', rows);
    if (!rows.length) return [nothing('Nothing was used in this time.')];
    const words = `${metric.title} a day from ${longDay(days[0])} to ${longDay(days[days.length - 1])}, by ${choice.group}. The table below has every number.`;
    const chart = stackedBars(words, days, series, money ? dollars : short);
    endChart = chart.end;
    const format = money ? dollars : count;
    const perDay = days
      .map((day, index) => ({ day, values: series.map(({ values }) => values[index]) }))
      .filter(({ values }) => values.some(Boolean))
      .toReversed();
    return [
      tiles(sum),
      chart.element,
      make(
        'details',
        { className: 'more' },
        make('summary', {}, `${metric.title} of each day as a table`),
        table(
          `${metric.title} of each day, by ${choice.group}`,
          [
            { title: 'Day', cell: ({ day }) => longDay(day) },
            ...series.map(({ name }, index) => ({
              title: name,
              number: true,
              cell: (/** @type {{values: number[]}} */ { values }) => format(values[index]),
            })),
          ],
          perDay,
        ),
      ),
      make('h3', {}, `By ${choice.group}`),
      table(
        `Usage by ${choice.group}`,
        [
          { title: GROUPS[/** @type {keyof typeof GROUPS} */ (choice.group)], cell: ({ name }) => name },
          { title: 'Requests', number: true, cell: ({ requests }) => count(requests) },
          { title: 'Failed', number: true, cell: ({ failed }) => count(failed) },
          { title: 'Prompt tokens', number: true, cell: ({ prompt }) => count(prompt) },
          { title: 'Cached', number: true, cell: ({ cached }) => count(cached) },
          { title: 'Answer tokens', number: true, cell: ({ completion }) => count(completion) },
          { title: 'Cost', number: true, cell: ({ cost }) => dollars(cost) },
        ],
        totals,
        sum,
      ),
    ];
  };

  const chooser = (
    /** @type {'days' | 'group' | 'metric'} */ name,
    /** @type {string} */ label,
    /** @type {[string, string][]} */ options,
  ) => {
    const control = select(`usage-${name}`, options, choice[name], (value) => {
      choice[name] = value;
      load();
    });
    control.setAttribute('aria-label', label);
    return control;
  };
  const groups = Object.entries(GROUPS).filter(([name]) => admin || name !== 'owner');
  root.append(
    section(
      'Used',
      {
        hint: admin ? 'By everyone. Days are UTC.' : 'By you and your owner’s other keys. Days are UTC.',
        tools: [
          chooser(
            'metric',
            'What is shown',
            Object.entries(METRICS).map(([name, { title }]) => [name, title]),
          ),
          chooser(
            'group',
            'Parted by',
            groups.map(([name, title]) => [name, `by ${title.toLowerCase()}`]),
          ),
          chooser('days', 'Time', [
            ['7', 'Last 7 days'],
            ['30', 'Last 30 days'],
            ['90', 'Last 90 days'],
          ]),
        ],
      },
      content,
    ),
  );
  load();
  return { end: () => endChart() };
}

const GROUPS = { model: 'Model', key: 'Key', owner: 'Owner' };

/**
 * @param {string[]} days
 * @param {string} group
 * @returns {Promise<import('./figures.js').UsageRow[]>}
 */
async function rowsOf(days, group) {
  const query = { group_by: `day,${group}`, start: days[0], end: days[days.length - 1] };
  return (await callJson('v1/usage', { query })).data;
}

/** @param {ReturnType<typeof sumOf>} sum */
function tiles(sum) {
  const shown = [
    ['Requests', count(sum.requests)],
    ['Tokens', short(sum.prompt + sum.completion)],
    ['Cost', dollars(sum.cost)],
    ['Failed', sum.requests ? `${((sum.failed / sum.requests) * 100).toFixed(1)} %` : '–'],
  ];
  return make(
    'dl',
    { className: 'tiles' },
    ...shown.map(([name, value]) =>
      make('div', { className: 'tile' }, make('dt', {}, name), make('dd', {}, value)),
    ),
  );
}
