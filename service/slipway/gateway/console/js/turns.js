/** Shows the turns of a conversation. Knows how a turn looks, not where answers come from. */

import { copyButton, copyFrom } from './clipboard.js';
import { speed } from './conversation.js';
import { icon, iconButton, make } from './dom.js';
import { MarkdownStream } from './streaming.js';

/**
 * What a person can do with a turn.
 * @typedef {object} Actions
 * @property {() => void} retry
 * @property {(question: string) => void} edit asks another question in its place
 * @property {(index: number) => void} show another answer to the same question
 * @property {() => void} openKey
 * @property {() => void} openSettings
 */

export class TurnView {
  #turn;
  #actions;
  #last = false;

  /**
   * @param {import('./conversation.js').Turn} turn
   * @param {Actions} actions
   */
  constructor(turn, actions) {
    this.#turn = turn;
    this.#actions = actions;
    this.question = make('li', { className: 'turn user' });
    this.answer = make('li', { className: 'turn assistant' });
    this.#showQuestion();
    this.showAnswer();
  }

  /** The last turn can be retried and has its buttons in view. @param {boolean} last */
  set last(last) {
    this.#last = last;
    this.answer.classList.toggle('last', last);
  }

  get #variant() {
    return this.#turn.variants[this.#turn.shown];
  }

  #showQuestion() {
    const { question } = this.#turn;
    this.question.replaceChildren(
      make('h2', { className: 'visually-hidden' }, 'You'),
      make('div', { className: 'bubble' }, question),
      make(
        'div',
        { className: 'actions' },
        copyButton('Copy message', () => question),
        iconButton('edit', 'Edit message', () => this.#editQuestion()),
      ),
    );
  }

  #editQuestion() {
    const area = /** @type {HTMLTextAreaElement} */ (
      make('textarea', { value: this.#turn.question, rows: 3, 'aria-label': 'Edit message' })
    );
    const cancel = () => {
      this.#showQuestion();
      /** @type {HTMLElement} */ (this.question.querySelector('[aria-label="Edit message"]')).focus();
    };
    const send = () => {
      const question = area.value.trim();
      if (question) this.#actions.edit(question);
    };
    area.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') cancel();
      else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) send();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    this.question.replaceChildren(
      make(
        'div',
        { className: 'editing' },
        area,
        make(
          'div',
          { className: 'row end' },
          make('button', { type: 'button', className: 'plain', onclick: cancel }, 'Cancel'),
          make('button', { type: 'button', className: 'primary', onclick: send }, 'Send'),
        ),
      ),
    );
    area.focus();
  }

  /** Shows the chosen answer, complete. */
  showAnswer() {
    const variant = this.#variant;
    if (!variant) return;
    const live = this.begin();
    if (variant.reasoning) live.reasoning(variant.reasoning);
    if (variant.content) live.text(variant.content);
    live.end();
  }

  /** Shows an answer that is being written. */
  begin() {
    const variant = this.#variant;
    const waiting = make(
      'p',
      { className: 'waiting' },
      make('span', { className: 'pulse', 'aria-hidden': 'true' }),
    );
    const waitingText = make('span', {}, 'Waiting for the first token…');
    waiting.append(waitingText);
    const markdown = make('div', { className: 'markdown' });
    const thoughts = make('div', { className: 'markdown' });
    const thinking = /** @type {HTMLDetailsElement} */ (
      make('details', { className: 'thinking', hidden: true }, make('summary', {}, 'Thinking'), thoughts)
    );
    this.answer.replaceChildren(
      make('h2', { className: 'speaker' }, variant.model),
      thinking,
      markdown,
      waiting,
    );
    this.answer.setAttribute('aria-busy', 'true');
    const [answerStream, thoughtStream] = [new MarkdownStream(markdown), new MarkdownStream(thoughts)];
    return {
      /** @param {string} sentence */
      waiting: (sentence) => {
        waitingText.textContent = sentence;
      },
      /** @param {string} text */
      reasoning: (text) => {
        waiting.remove();
        thinking.hidden = false;
        thoughtStream.push(text);
      },
      /** @param {string} text */
      text: (text) => {
        waiting.remove();
        answerStream.push(text);
      },
      end: () => {
        waiting.remove();
        if (variant.reasoning) thoughtStream.finish();
        thinking.firstElementChild?.replaceChildren('Thoughts');
        answerStream.finish();
        this.answer.removeAttribute('aria-busy');
        this.answer.append(...this.#ending());
      },
    };
  }

  /** What stands below an answer. @returns {Node[]} */
  #ending() {
    const variant = this.#variant;
    const nodes = [];
    const note = noteOf(variant);
    if (note) {
      const raise = make(
        'button',
        { type: 'button', className: 'link', onclick: this.#actions.openSettings },
        'Open settings',
      );
      nodes.push(make('p', { className: 'note' }, note, variant.finish === 'length' && raise));
    }
    if (variant.error) nodes.push(this.#error(variant));
    nodes.push(make('div', { className: 'actions' }, ...this.#buttons(variant), ...measures(variant)));
    return nodes;
  }

  /** @param {import('./conversation.js').Variant} variant */
  #error(variant) {
    const { message, status, retryAfter } = /** @type {NonNullable<typeof variant.error>} */ (variant.error);
    const hint = retryAfter && `Try again in ${retryAfter} ${retryAfter === 1 ? 'second' : 'seconds'}.`;
    const button =
      status === 401
        ? make(
            'button',
            { type: 'button', className: 'plain', onclick: this.#actions.openKey },
            icon('key'),
            'API key',
          )
        : null;
    const cut = variant.content ? 'The answer broke off. ' : '';
    return make(
      'div',
      { className: 'error', role: 'alert' },
      make('p', {}, cut, message, hint ? ` ${hint}` : ''),
      button,
    );
  }

  /** @param {import('./conversation.js').Variant} variant */
  #buttons(variant) {
    const { variants, shown } = this.#turn;
    const buttons = [];
    if (variants.length > 1) {
      const earlier = iconButton('left', 'Earlier answer', () => this.#actions.show(shown - 1));
      const later = iconButton('right', 'Later answer', () => this.#actions.show(shown + 1));
      earlier.disabled = shown === 0;
      later.disabled = shown === variants.length - 1;
      const count = make('span', { 'aria-label': `Answer ${shown + 1} of ${variants.length}`, role: 'img' });
      count.textContent = `${shown + 1}/${variants.length}`;
      buttons.push(make('span', { className: 'variants' }, earlier, count, later));
    }
    if (variant.content) buttons.push(copyButton('Copy answer', () => variant.content));
    const retry = iconButton('retry', 'Retry', this.#actions.retry);
    retry.classList.add('retry');
    buttons.push(retry);
    return buttons;
  }
}

/** @param {import('./conversation.js').Variant} variant */
function noteOf({ stopped, finish, error }) {
  if (error) return '';
  if (stopped) return 'Stopped.';
  if (finish === 'length')
    return 'Cut off: the answer reached its longest length (Max tokens, or the room the model has). ';
  if (finish === 'content_filter') return 'Cut off by a content filter.';
  if (finish === 'tool_calls') return 'The model asked to call a tool; the console has none.';
  return '';
}

/**
 * Time to first token, speed, count and request id.
 * @param {import('./conversation.js').Variant} variant
 */
function measures(variant) {
  const { perSecond, tokens, exact } = speed(variant);
  const about = exact ? '' : '≈ ';
  const parts = [];
  if (variant.firstTokenMs !== null) parts.push(`${seconds(variant.firstTokenMs)} to first token`);
  if (perSecond) parts.push(`${about}${perSecond.toFixed(perSecond < 10 ? 1 : 0)} tokens/s`);
  if (tokens) parts.push(`${about}${tokens} ${tokens === 1 ? 'token' : 'tokens'}`);
  const measured = parts.map((part) => make('span', { className: 'measure' }, part));
  const nodes = measured.length ? [make('span', { className: 'measures' }, ...measured)] : [];
  const { requestId } = variant;
  if (requestId) {
    const button = /** @type {HTMLButtonElement} */ (
      make(
        'button',
        {
          type: 'button',
          className: 'request-id',
          title: `Copy the request id ${requestId}`,
          onclick: () => copyFrom(button, requestId),
        },
        make('span', { className: 'visually-hidden' }, 'Copy the request id '),
        make('span', { className: 'id' }, requestId),
        icon('copy'),
      )
    );
    nodes.push(button);
  }
  return nodes;
}

/** @param {number} ms */
const seconds = (ms) =>
  ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
