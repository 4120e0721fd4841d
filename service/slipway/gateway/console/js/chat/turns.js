/** Shows the turns of a conversation. Knows how a turn looks, not where answers come from. */

import { copyButton, copyFrom } from '../ui/clipboard.js';
import { icon, iconButton, make } from '../ui/dom.js';
import { duration } from '../ui/format.js';
import { MarkdownStream } from '../markdown/streaming.js';
import { feedbackControls } from './feedback.js';
import { speed } from './tree.js';
import { stagesSeenHere, waterfall } from './waterfall.js';

/**
 * What a person can do with a turn.
 * @typedef {object} Actions
 * @property {(turn: Turn) => void} retry asks for another answer
 * @property {(turn: Turn, question: string) => void} edit asks another question in its place
 * @property {(turn: Turn, by: 1 | -1) => void} turnTo shows the sibling before or after
 * @property {(turn: Turn) => void} use shows the answer's request as a program
 * @property {(turn: Turn) => {role: string, content: string}[]} messages up to this turn, and the turn
 * @property {() => void} changed something of the turn that is to be kept
 * @property {() => void} signIn
 * @property {() => void} openSettings
 */

/** @typedef {import('./tree.js').Turn} Turn */
/** @typedef {import('./tree.js').Answer} Answer */
/** @typedef {{position: number, of: number}} Place among the siblings, from 0 */

/** A question. */
export class QuestionView {
  element = make('li', { className: 'turn user' });
  #turn;
  #actions;
  #place;

  /**
   * @param {Turn} turn
   * @param {Place} place
   * @param {Actions} actions
   */
  constructor(turn, place, actions) {
    this.#turn = turn;
    this.#place = place;
    this.#actions = actions;
    this.#show();
  }

  #show() {
    const { content } = this.#turn;
    this.element.replaceChildren(
      make('h2', { className: 'visually-hidden' }, 'You'),
      make('div', { className: 'bubble' }, content),
      make(
        'div',
        { className: 'actions' },
        siblingButtons(this.#turn, this.#place, this.#actions, 'message'),
        copyButton('Copy message', () => content),
        iconButton('edit', 'Edit message', () => this.#edit()),
      ),
    );
  }

  #edit() {
    const area = /** @type {HTMLTextAreaElement} */ (
      make('textarea', { value: this.#turn.content, rows: 3, 'aria-label': 'Edit message' })
    );
    const cancel = () => {
      this.#show();
      /** @type {HTMLElement} */ (this.element.querySelector('[aria-label="Edit message"]')).focus();
    };
    const send = () => {
      const question = area.value.trim();
      if (question) this.#actions.edit(this.#turn, question);
    };
    area.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') cancel();
      else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) send();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    this.element.replaceChildren(
      make(
        'div',
        { className: 'editing' },
        area,
        make('p', { className: 'hint' }, 'The earlier wording and its answers stay, beside the new one.'),
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
}

/** An answer, complete or being written. */
export class AnswerView {
  element = make('li', { className: 'turn assistant' });
  #turn;
  #actions;
  #place;

  /**
   * @param {Answer} turn
   * @param {Place} place
   * @param {Actions} actions
   */
  constructor(turn, place, actions) {
    this.#turn = turn;
    this.#place = place;
    this.#actions = actions;
  }

  /** The last answer has its buttons in view. @param {boolean} last */
  set last(last) {
    this.element.classList.toggle('last', last);
  }

  /** Shows a complete answer. */
  showWhole() {
    this.begin().end();
  }

  /** Shows what there is of the answer, and takes what comes. */
  begin() {
    const turn = this.#turn;
    const waitingText = make('span', {}, 'Waiting for the first token…');
    const waiting = make(
      'p',
      { className: 'waiting' },
      make('span', { className: 'pulse', 'aria-hidden': 'true' }),
      waitingText,
    );
    const markdown = make('div', { className: 'markdown' });
    const thoughts = make('div', { className: 'markdown' });
    const thinking = make(
      'details',
      { className: 'thinking', hidden: true },
      make('summary', {}, 'Thinking'),
      thoughts,
    );
    this.element.replaceChildren(
      make('h2', { className: 'speaker' }, turn.model),
      thinking,
      markdown,
      waiting,
    );
    this.element.setAttribute('aria-busy', 'true');
    const [answerStream, thoughtStream] = [new MarkdownStream(markdown), new MarkdownStream(thoughts)];
    const live = {
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
        if (turn.reasoning) thoughtStream.finish();
        thinking.firstElementChild?.replaceChildren('Thoughts');
        answerStream.finish();
        this.element.removeAttribute('aria-busy');
        this.element.append(...this.#ending());
      },
    };
    if (turn.reasoning) live.reasoning(turn.reasoning);
    if (turn.content) live.text(turn.content);
    return live;
  }

  /** Shows the gateway's own measure of where the time went, once it is known. */
  showStages() {
    this.element.querySelector('.waterfall')?.replaceWith(waterfall(this.#turn.stages ?? []));
  }

  /** What stands below an answer. @returns {Node[]} */
  #ending() {
    const turn = this.#turn;
    const nodes = [];
    const note = noteOf(turn);
    if (note) {
      const raise = make(
        'button',
        { type: 'button', className: 'link', onclick: this.#actions.openSettings },
        'Open settings',
      );
      nodes.push(make('p', { className: 'note' }, note, turn.finish === 'length' && raise));
    }
    if (turn.error) nodes.push(this.#error(turn.error));
    const feedback =
      turn.requestId && turn.content && !turn.error
        ? feedbackControls(turn, () => this.#actions.messages(turn), this.#actions.changed)
        : null;
    nodes.push(
      make('div', { className: 'actions' }, ...this.#buttons(feedback?.buttons ?? []), ...measures(turn)),
    );
    const stages = turn.stages ?? stagesSeenHere(turn);
    if (stages.length) nodes.push(waterfall(stages));
    if (feedback) nodes.push(feedback.form);
    return nodes;
  }

  /** @param {NonNullable<Answer['error']>} error */
  #error({ message, status, retryAfter }) {
    const hint = retryAfter && `Try again in ${retryAfter} ${retryAfter === 1 ? 'second' : 'seconds'}.`;
    const button =
      status === 401
        ? make(
            'button',
            { type: 'button', className: 'plain', onclick: this.#actions.signIn },
            icon('key'),
            'Sign in',
          )
        : null;
    const cut = this.#turn.content ? 'The answer broke off. ' : '';
    return make(
      'div',
      { className: 'error', role: 'alert' },
      make('p', {}, cut, message, hint ? ` ${hint}` : ''),
      button,
    );
  }

  /** @param {HTMLElement[]} feedback */
  #buttons(feedback) {
    const turn = this.#turn;
    return [
      siblingButtons(turn, this.#place, this.#actions, 'answer'),
      turn.content ? copyButton('Copy answer', () => turn.content) : null,
      iconButton('retry', 'Retry', () => this.#actions.retry(turn)),
      iconButton('code', 'Show as a program', () => this.#actions.use(turn)),
      ...feedback,
    ];
  }
}

/**
 * ‹ 1/2 ›, where there are siblings.
 * @param {Turn} turn
 * @param {Place} place
 * @param {Actions} actions
 * @param {'answer' | 'message'} what
 */
function siblingButtons(turn, { position, of }, actions, what) {
  if (of < 2) return null;
  const earlier = iconButton('left', `Earlier ${what}`, () => actions.turnTo(turn, -1));
  const later = iconButton('right', `Later ${what}`, () => actions.turnTo(turn, 1));
  earlier.disabled = position === 0;
  later.disabled = position === of - 1;
  const name = `${what === 'answer' ? 'Answer' : 'Message'} ${position + 1} of ${of}`;
  const count = make('span', { 'aria-label': name, role: 'img' }, `${position + 1}/${of}`);
  return make('span', { className: 'variants' }, earlier, count, later);
}

/** @param {Answer} turn */
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
 * Time to first token, speed and count as words.
 * @param {import('./tree.js').Answered} turn
 * @returns {string[]}
 */
export function figures(turn) {
  const { perSecond, tokens, exact } = speed(turn);
  const about = exact ? '' : '≈ ';
  const parts = [];
  if (turn.firstTokenMs !== null) parts.push(`${duration(turn.firstTokenMs)} to first token`);
  if (perSecond) parts.push(`${about}${perSecond.toFixed(perSecond < 10 ? 1 : 0)} tokens/s`);
  if (tokens) parts.push(`${about}${tokens} ${tokens === 1 ? 'token' : 'tokens'}`);
  return parts;
}

/**
 * The figures, and the request id.
 * @param {Answer} turn
 */
function measures(turn) {
  const measured = figures(turn).map((part) => make('span', { className: 'measure' }, part));
  const nodes = measured.length ? [make('span', { className: 'measures' }, ...measured)] : [];
  const { requestId } = turn;
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
