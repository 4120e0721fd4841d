/** Stacked bars over days, by uPlot on a canvas. What they show is for screen readers in a table beside them. */

import uPlot from '../../vendor/uplot.js';
import { make } from './dom.js';
import { axisLook, COLOURS, frame, HEIGHT, resolved, whenLooksChange } from './plots.js';

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {number[]} values one a day
 */

/**
 * @param {string} label what it shows, in words
 * @param {string[]} days `YYYY-MM-DD`
 * @param {Series[]} series from the bottom to the top
 * @param {(value: number) => string} format of a value
 * @returns {{element: HTMLElement, end: () => void}}
 */
export function stackedBars(label, days, series, format) {
  const { element, box, tip } = frame(
    label,
    series.map(({ name }) => name),
  );
  const sums = stacked(days.length, series);
  const x = days.map((day) => Date.parse(`${day}T00:00:00Z`) / 1000);
  /** @type {any} */
  let plot = null;

  const draw = () => {
    plot?.destroy();
    const width = Math.max(box.clientWidth, 200);
    const axis = axisLook();
    plot = new /** @type {any} */ (uPlot)(
      {
        width,
        height: HEIGHT,
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
        scales: {
          x: { time: true, range: edges(x) },
          y: { range: (/** @type {any[]} */ ...[, , top]) => [0, top * 1.08 || 1] },
        },
        tzDate: (/** @type {number} */ seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
        axes: [
          {
            ...axis,
            grid: { show: false },
            space: 64,
            values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map(shortDay),
            incrs: [86_400, 172_800, 604_800, 1_209_600, 2_592_000],
          },
          { ...axis, size: 64, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map(format) },
        ],
        series: [
          {},
          // The tallest first: each one covers the lower part of the one before.
          ...sums.toReversed().map(({ index }) => ({
            fill: resolved(`--series-${index % COLOURS}`),
            width: 0,
            points: { show: false },
            paths: /** @type {any} */ (uPlot.paths).bars({ size: [0.7, 40] }),
          })),
        ],
        hooks: { setCursor: [(/** @type {any} */ shown) => say(shown)] },
      },
      [x, ...sums.toReversed().map(({ values }) => values)],
      box,
    );
  };

  /** @param {any} shown */
  const say = (shown) => {
    const index = shown.cursor.idx;
    tip.hidden = index === null || index === undefined;
    if (tip.hidden) return;
    const parts = series.filter(({ values }) => values[index]);
    tip.replaceChildren(
      make('b', {}, longDay(days[index])),
      ...parts.map(({ name, values }) => make('span', {}, `${name}: ${format(values[index])}`)),
      ...(parts.length ? [] : ['Nothing']),
    );
    const left = shown.over.offsetLeft + shown.cursor.left;
    tip.style.left = `${Math.min(Math.max(left, 70), box.clientWidth - 70)}px`;
  };

  const end = whenLooksChange(box, draw);
  return {
    element,
    end: () => {
      end();
      plot?.destroy();
    },
  };
}

/**
 * Each series on top of those below it.
 * @param {number} length
 * @param {Series[]} series
 */
function stacked(length, series) {
  const below = Array(length).fill(0);
  return series.map(({ values }, index) => {
    for (const [position, value] of values.entries()) below[position] += value;
    return { index, values: [...below] };
  });
}

/** Half a day beside the first and the last. @param {number[]} x @returns {[number, number]} */
const edges = (x) => [x[0] - 43_200, x[x.length - 1] + 43_200];

/** @param {number} seconds */
const shortDay = (seconds) =>
  new Date(seconds * 1000).toLocaleDateString('en', { day: 'numeric', month: 'short', timeZone: 'UTC' });

/** @param {string} day */
export const longDay = (day) =>
  new Date(`${day}T00:00:00Z`).toLocaleDateString('en', { dateStyle: 'medium', timeZone: 'UTC' });
