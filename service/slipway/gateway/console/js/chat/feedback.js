/** Thumbs up and down with a comment, kept by the gateway with the request's id. */

import { callJson, sentenceOf } from '../api/request.js';
import { announce, iconButton, make } from '../ui/dom.js';

/**
 * @typedef {object} Rating
 * @property {'up' | 'down'} rating
 * @property {string} [comment]
 * @property {string} [expected] what the answer should have been
 * @property {{role: string, content: string}[]} [messages] the conversation, only where the person agreed
 */

/**
 * @param {string} requestId
 * @param {Rating} rating
 */
export const sendFeedback = (requestId, rating) =>
  callJson('v1/feedback', { body: { request_id: requestId, ...rating } });

/**
 * The two buttons, and the form that opens under them.
 * @param {import('./tree.js').Answer} turn that has a request id; its `feedback` is filled
 * @param {() => {role: string, content: string}[]} messages the conversation up to this answer
 * @param {() => void} changed
 * @returns {{buttons: HTMLElement[], form: HTMLElement}}
 */
export function feedbackControls(turn, messages, changed) {
  const form = make('div', { className: 'feedback', hidden: true });
  const buttons = {
    up: iconButton('thumbup', 'Good answer', () => rate('up')),
    down: iconButton('thumbdown', 'Bad answer', () => rate('down')),
  };
  const reflect = () => {
    for (const [rating, button] of Object.entries(buttons))
      button.setAttribute('aria-pressed', String(turn.feedback?.rating === rating));
  };

  /** @param {Rating} rating */
  const send = async (rating) => {
    await sendFeedback(/** @type {string} */ (turn.requestId), rating);
    turn.feedback = { rating: rating.rating, comment: rating.comment ?? '' };
    reflect();
    changed();
  };

  /** @param {'up' | 'down'} rating */
  const rate = async (rating) => {
    try {
      await send({ rating, ...(turn.feedback?.comment && { comment: turn.feedback.comment }) });
      form.replaceChildren(commentForm(rating));
      announce('Thank you. You can add a comment.');
    } catch (error) {
      form.replaceChildren(make('p', { className: 'problem', role: 'alert' }, sentenceOf(error)));
    }
    form.hidden = false;
  };

  /** @param {'up' | 'down'} rating */
  const commentForm = (rating) => {
    const id = `feedback-${turn.id}`;
    const comment = /** @type {HTMLTextAreaElement} */ (
      make('textarea', { id: `${id}-comment`, rows: 2, maxLength: 2000, value: turn.feedback?.comment ?? '' })
    );
    const expected = /** @type {HTMLTextAreaElement} */ (
      make('textarea', { id: `${id}-expected`, rows: 2, maxLength: 20_000 })
    );
    const agreed = /** @type {HTMLInputElement} */ (make('input', { type: 'checkbox', id: `${id}-agreed` }));
    const problem = make('p', { className: 'problem', role: 'alert', hidden: true });
    const close = () => {
      form.hidden = true;
      buttons[rating].focus();
    };
    const submit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      try {
        await send({
          rating,
          ...(comment.value.trim() && { comment: comment.value.trim() }),
          ...(expected.value.trim() && { expected: expected.value.trim() }),
          ...(agreed.checked && { messages: messages() }),
        });
        close();
        announce('The comment is kept.');
      } catch (error) {
        problem.textContent = sentenceOf(error);
        problem.hidden = false;
      }
    };
    return make(
      'form',
      { className: 'feedback-form', onsubmit: submit, 'aria-label': 'Comment on this answer' },
      make(
        'div',
        { className: 'field' },
        make(
          'label',
          { htmlFor: comment.id },
          rating === 'up' ? 'What was good about it? (optional)' : 'What was wrong with it? (optional)',
        ),
        comment,
      ),
      rating === 'down' &&
        make(
          'div',
          { className: 'field' },
          make('label', { htmlFor: expected.id }, 'What should it have said? (optional)'),
          expected,
        ),
      make(
        'label',
        { className: 'check' },
        agreed,
        make('span', {}, 'Include this conversation, so that it can be used for improvement'),
      ),
      problem,
      make(
        'div',
        { className: 'row end' },
        make('button', { type: 'button', className: 'plain', onclick: close }, 'Close'),
        make('button', { type: 'submit', className: 'primary' }, 'Send comment'),
      ),
    );
  };

  reflect();
  return { buttons: [buttons.up, buttons.down], form };
}
