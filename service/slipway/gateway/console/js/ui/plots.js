/** What charts share: their frame, their colours in the theme of now, when they are drawn anew. */

import { make } from './dom.js';

export const HEIGHT = 240;
/** How many series have a colour of their own; the style sheet names them. */
export const COLOURS = 8;

/** @param {string} name of a custom property of the style sheet */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * A colour as it is in the theme of now: `light-dark()` means nothing to a canvas.
 * @param {string} name
 */
export function resolved(name) {
  const probe = make('span', { className: 'visually-hidden' });
  probe.style.color = colour(name);
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** How an axis is drawn. */
export const axisLook = () => ({
  stroke: resolved('--muted'),
  grid: { stroke: resolved('--line'), width: 1 },
  ticks: { show: false },
  font: '12px system-ui, sans-serif',
});

/**
 * @param {string} label what the chart shows, in words
 * @param {string[]} names of its series
 */
export function frame(label, names) {
  const box = make('div', { className: 'chart', role: 'img', 'aria-label': label });
  const tip = make('div', { className: 'chart-tip', hidden: true });
  return { box, tip, element: make('div', { className: 'chart-frame' }, box, legend(names), tip) };
}

/**
 * Calls `draw` at once and whenever the box's size or the theme changes.
 * @param {HTMLElement} box
 * @param {() => void} draw
 * @returns {() => void} ends it
 */
export function whenLooksChange(box, draw) {
  const observer = new ResizeObserver(() => draw());
  observer.observe(box);
  const themes = new MutationObserver(() => draw());
  themes.observe(document.documentElement, { attributeFilter: ['data-theme'] });
  const system = matchMedia('(prefers-color-scheme: dark)');
  system.addEventListener('change', draw);
  return () => {
    observer.disconnect();
    themes.disconnect();
    system.removeEventListener('change', draw);
  };
}

/** @param {string[]} names */
function legend(names) {
  return make(
    'ul',
    { className: 'legend', 'aria-hidden': 'true' },
    ...names.map((name, index) =>
      make('li', {}, make('span', { className: `legend-mark series-${index % COLOURS}` }), name),
    ),
  );
}
