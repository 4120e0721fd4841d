/** Tabs after the WAI-ARIA pattern: arrow keys move between them, Tab leads into the panel. */

import { make } from './dom.js';

let groups = 0;

/**
 * @param {string} label of the row of tabs
 * @param {{name: string, content: HTMLElement}[]} panels
 * @param {number} chosen
 * @param {(index: number) => void} [onchoose]
 * @returns {HTMLElement}
 */
export function tabs(label, panels, chosen, onchoose) {
  const id = `tabs-${(groups += 1)}`;
  const row = make('div', { className: 'tabs', role: 'tablist', 'aria-label': label });
  const bodies = panels.map(({ content }, index) => {
    const body = make('div', {
      id: `${id}-panel-${index}`,
      role: 'tabpanel',
      'aria-labelledby': `${id}-tab-${index}`,
    });
    body.append(content);
    return body;
  });
  const buttons = panels.map(({ name }, index) =>
    make(
      'button',
      {
        type: 'button',
        className: 'tab',
        id: `${id}-tab-${index}`,
        role: 'tab',
        'aria-controls': `${id}-panel-${index}`,
        onclick: () => choose(index),
      },
      name,
    ),
  );
  /** @param {number} index */
  const choose = (index) => {
    for (const [position, button] of buttons.entries()) {
      button.setAttribute('aria-selected', String(position === index));
      button.tabIndex = position === index ? 0 : -1;
      bodies[position].hidden = position !== index;
    }
    onchoose?.(index);
  };
  row.addEventListener('keydown', (event) => {
    const now = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (now + step + buttons.length) % buttons.length;
    choose(next);
    buttons[next].focus();
    event.preventDefault();
  });
  row.append(...buttons);
  choose(panels[chosen] ? chosen : 0);
  return make('div', {}, row, ...bodies);
}
