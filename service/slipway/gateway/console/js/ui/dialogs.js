/** Small boxes that ask one thing. Each is made when it is asked and removed when it is answered. */

import { make } from './dom.js';

let boxes = 0;

/**
 * Shows a box; closing it in any other way than by its form answers null.
 * @param {string} title
 * @param {Node[]} content
 * @param {() => unknown} read what the box answers when its form is sent; a Promise is waited for, and one that
 *   throws keeps the box open
 * @param {{button: string, danger?: boolean, cancel?: string, broad?: boolean, fault?: (error: unknown) => string}} look
 * @returns {Promise<any>}
 */
export function box(
  title,
  content,
  read,
  { button, danger = false, cancel = 'Cancel', broad = false, fault },
) {
  const id = `box-${(boxes += 1)}`;
  const problem = make('p', { className: 'problem', role: 'alert', hidden: true });
  const send = /** @type {HTMLButtonElement} */ (
    make('button', { type: 'submit', className: danger ? 'primary danger' : 'primary' }, button)
  );
  const form = make(
    'form',
    { noValidate: true },
    make('div', { className: 'dialog-head' }, make('h2', { id: `${id}-title` }, title)),
    ...content,
    problem,
    make(
      'div',
      { className: 'row end' },
      cancel && make('button', { type: 'button', className: 'plain', onclick: () => dialog.close() }, cancel),
      send,
    ),
  );
  const dialog = /** @type {HTMLDialogElement} */ (
    make('dialog', { className: broad ? 'modal broad' : 'modal', 'aria-labelledby': `${id}-title` }, form)
  );
  return new Promise((resolve) => {
    /** @type {unknown} */
    let answer = null;
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      send.disabled = true;
      try {
        answer = await read();
        dialog.close();
      } catch (error) {
        if (!fault) throw error;
        problem.textContent = fault(error);
        problem.hidden = false;
      } finally {
        send.disabled = false;
      }
    });
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * @param {{title: string, text: string, button: string}} question
 * @returns {Promise<boolean>}
 */
export async function confirm({ title, text, button }) {
  return (
    (await box(title, [make('p', { className: 'box-text' }, text)], () => true, { button, danger: true })) ===
    true
  );
}

/**
 * @param {{title: string, label: string, value: string, button: string}} question
 * @returns {Promise<string | null>}
 */
export function prompt({ title, label, value, button }) {
  const input = /** @type {HTMLInputElement} */ (
    make('input', { id: 'box-input', value, autocomplete: 'off', maxLength: 200 })
  );
  const field = make('div', { className: 'field' }, make('label', { htmlFor: 'box-input' }, label), input);
  const answer = box(title, [field], () => input.value, { button });
  input.focus();
  input.select();
  return answer;
}
