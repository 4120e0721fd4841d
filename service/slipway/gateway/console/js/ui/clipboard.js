import { announce, icon, iconButton } from './dom.js';

const SHOWN_MS = 1600;

/**
 * Puts text on the clipboard. The clipboard API exists on HTTPS and localhost only; elsewhere the old command serves.
 * @param {string} text
 */
export async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'visually-hidden';
  const focused = document.activeElement;
  // Inside an open modal dialog, nothing outside it can be selected.
  (focused?.closest('dialog') ?? document.body).append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
}

/**
 * A button that copies what `text` gives, and shows that it did.
 * @param {string} label
 * @param {() => string} text
 */
export function copyButton(label, text) {
  const button = iconButton('copy', label, () => copyFrom(button, text()));
  return button;
}

/**
 * Copies, and shows a tick on the button for a moment.
 * @param {HTMLButtonElement} button
 * @param {string} text
 */
export async function copyFrom(button, text) {
  try {
    await copy(text);
  } catch {
    announce('Could not copy: the browser does not allow it.');
    return;
  }
  announce('Copied');
  const shown = button.querySelector('.icon');
  if (!shown || button.classList.contains('done')) return;
  const tick = icon('check');
  shown.replaceWith(tick);
  button.classList.add('done');
  setTimeout(() => {
    tick.replaceWith(shown);
    button.classList.remove('done');
  }, SHOWN_MS);
}
