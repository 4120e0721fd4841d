/** One side of a comparison: the answer as it is written, and its figures beside those of the other side. */

import { figures } from '../chat/turns.js';
import { speed } from '../chat/tree.js';
import { stagesFromGateway, stagesSeenHere, waterfall } from '../chat/waterfall.js';
import { MarkdownStream } from '../markdown/streaming.js';
import { badge } from '../ui/blocks.js';
import { copyButton } from '../ui/clipboard.js';
import { make } from '../ui/dom.js';

/** @typedef {import('../chat/tree.js').Answer} Answer */

export class Column {
  #turn;
  #side;
  #name = make('h3', { className: 'speaker' });
  #tools = make('div');
  #thoughts = make('div', { className: 'markdown' });
  #thinking = make(
    'details',
    { className: 'thinking', hidden: true },
    make('summary', {}, 'Thoughts'),
    this.#thoughts,
  );
  #markdown = make('div', { className: 'markdown' });
  #waiting = make(
    'p',
    { className: 'waiting' },
    make('span', { className: 'pulse', 'aria-hidden': 'true' }),
    'Waiting for the first token…',
  );
  #answerStream = new MarkdownStream(this.#markdown);
  #thoughtStream = new MarkdownStream(this.#thoughts);
  #figures = make('div', { className: 'figures' });

  live = {
    /** @param {string} text */
    text: (text) => {
      this.#waiting.remove();
      this.#answerStream.push(text);
    },
    /** @param {string} text */
    reasoning: (text) => {
      this.#waiting.remove();
      this.#thinking.hidden = false;
      this.#thoughtStream.push(text);
    },
  };

  /**
   * @param {Answer} turn
   * @param {'A' | 'B'} side
   * @param {boolean} blind
   */
  constructor(turn, side, blind) {
    this.#turn = turn;
    this.#side = side;
    this.#name.textContent = blind ? `Model ${side}` : `${side} · ${turn.model}`;
    this.element = make(
      'article',
      { className: 'column assistant', 'aria-busy': 'true', 'aria-label': `Answer ${side}` },
      make('div', { className: 'column-head' }, this.#name, this.#tools),
      this.#thinking,
      this.#markdown,
      this.#waiting,
      this.#figures,
    );
  }

  end() {
    const { error, stopped, finish, content } = this.#turn;
    this.#waiting.remove();
    this.#answerStream.finish();
    if (this.#turn.reasoning) this.#thoughtStream.finish();
    this.element.removeAttribute('aria-busy');
    const note =
      error?.message ?? (stopped ? 'Stopped.' : finish === 'length' ? 'Cut off at its longest length.' : '');
    if (note)
      this.#figures.before(
        make(
          'div',
          error ? { className: 'error', role: 'alert' } : { className: 'note' },
          make('p', {}, note),
        ),
      );
    if (content) this.#tools.append(copyButton(`Copy answer ${this.#side}`, () => content));
    this.#showFigures(null);
  }

  /** Marks what was quicker here. @param {Answer} other */
  compare(other) {
    this.#showFigures(other);
  }

  reveal() {
    this.#name.textContent = `${this.#side} · ${this.#turn.model}`;
  }

  async measure() {
    const { requestId, error } = this.#turn;
    if (!requestId || error) return;
    this.#turn.stages = await stagesFromGateway(requestId);
    this.#showFigures(null, true);
  }

  /** @type {Node[]} */
  #marks = [];

  /**
   * @param {Answer | null} other
   * @param {boolean} [keepMarks]
   */
  #showFigures(other, keepMarks = false) {
    const turn = this.#turn;
    if (!keepMarks) this.#marks = other ? marksOf(turn, other) : [];
    const stages = turn.stages ?? stagesSeenHere(turn);
    this.#figures.replaceChildren(
      make(
        'div',
        { className: 'measures' },
        ...figures(turn).map((part) => make('span', { className: 'measure' }, part)),
        ...this.#marks,
      ),
      ...(stages.length ? [waterfall(stages)] : []),
    );
  }
}

/**
 * @param {Answer} turn
 * @param {Answer} other
 */
function marksOf(turn, other) {
  /** @type {HTMLElement[]} */
  const marks = [];
  if (turn.error || other.error) return marks;
  if (turn.firstTokenMs !== null && turn.firstTokenMs < (other.firstTokenMs ?? 0))
    marks.push(badge('good', 'First to begin'));
  const [own, its] = [speed(turn).perSecond, speed(other).perSecond];
  if (own && its && own > its) marks.push(badge('good', `${(own / its).toFixed(1)} × the tokens/s`));
  return marks;
}
