/** Curves over steps, by uPlot on a canvas. What they show is for screen readers in a table beside them. */

import uPlot from '../../vendor/uplot.js';
import { make } from './dom.js';
import { axisLook, COLOURS, frame, HEIGHT, resolved, whenLooksChange } from './plots.js';

/**
 * @typedef {object} Curve
 * @property {string} name
 * @property {(number | null)[]} values one a step, null where there is none
 */

/**
 * @param {string} label what it shows, in words
 * @param {number[]} steps rising
 * @param {Curve[]} curves
 * @param {(value: number) => string} format of a value
 * @returns {{element: HTMLElement, show: (steps: number[], curves: Curve[]) => void, end: () => void}}
 */
export function curvesOver(label, steps, curves, format) {
  const { element, box, tip } = frame(
    label,
    curves.map(({ name }) => name),
  );
  /** @type {any} */
  let plot = null;
  let data = [steps, ...curves.map(({ values }) => values)];

  const draw = () => {
    plot?.destroy();
    const axis = axisLook();
    plot = new /** @type {any} */ (uPlot)(
      {
        width: Math.max(box.clientWidth, 200),
        height: HEIGHT,
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, y: false },
        scales: { x: { time: false } },
        axes: [
          { ...axis, grid: { show: false }, space: 64 },
          { ...axis, size: 64, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map(format) },
        ],
        series: [
          {},
          ...curves.map((_, index) => ({
            stroke: resolved(`--series-${index % COLOURS}`),
            width: 2,
            spanGaps: true,
            points: { show: index > 0 },
          })),
        ],
        hooks: { setCursor: [(/** @type {any} */ shown) => say(shown)] },
      },
      data,
      box,
    );
  };

  /** @param {any} shown */
  const say = (shown) => {
    const index = shown.cursor.idx;
    tip.hidden = index === null || index === undefined;
    if (tip.hidden) return;
    const [at, ...values] = data;
    const parts = curves.flatMap(({ name }, curve) => {
      const value = values[curve][index];
      return value === null ? [] : [make('span', {}, `${name}: ${format(value)}`)];
    });
    tip.replaceChildren(make('b', {}, `Step ${at[index]}`), ...parts);
    const left = shown.over.offsetLeft + shown.cursor.left;
    tip.style.left = `${Math.min(Math.max(left, 70), box.clientWidth - 70)}px`;
  };

  const end = whenLooksChange(box, draw);
  return {
    element,
    show: (newer, values) => {
      data = [newer, ...values.map((each) => each.values)];
      plot?.setData(data);
    },
    end: () => {
      end();
      plot?.destroy();
    },
  };
}
