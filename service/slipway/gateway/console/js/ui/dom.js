/** Builds DOM nodes without a markup string, so that nothing a model says is ever parsed as HTML here. */

const SVG = 'http://www.w3.org/2000/svg';

/**
 * The element with this id. It is part of index.html: a missing one is a mistake in the page.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no element #${id}`);
  return /** @type {T} */ (found);
}

/**
 * Makes an element. Properties that start with `on` are listeners; names with a dash and `role` are attributes.
 * @param {string} tag
 * @param {Record<string, unknown>} [properties]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (name.includes('-') || name === 'role') element.setAttribute(name, String(value));
    else /** @type {any} */ (element)[name] = value;
  }
  for (const child of children) if (child) element.append(child);
  return element;
}

/**
 * An icon of the sheet at the end of index.html.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button that shows an icon and says its purpose to screen readers and on hover.
 * @param {string} name of the icon
 * @param {string} label
 * @param {(event: Event) => void} onclick
 * @returns {HTMLButtonElement}
 */
export function iconButton(name, label, onclick) {
  return /** @type {HTMLButtonElement} */ (
    make(
      'button',
      { type: 'button', className: 'icon-button', 'aria-label': label, title: label, onclick },
      icon(name),
    )
  );
}

/** Says a sentence to screen readers only. @param {string} sentence */
export function announce(sentence) {
  byId('announcer').textContent = sentence;
}
