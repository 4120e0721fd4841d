/** Two models side by side: one prompt, both answer at once. Blind, the names come after the choice. */

import { sentenceOf } from '../api/request.js';
import { answer } from '../chat/answering.js';
import { sendFeedback } from '../chat/feedback.js';
import { emptyAnswer, messagesFor, speed } from '../chat/tree.js';
import { figures } from '../chat/turns.js';
import { stagesFromGateway, stagesSeenHere, waterfall } from '../chat/waterfall.js';
import { MarkdownStream } from '../markdown/streaming.js';
import { badge, button, select } from '../ui/blocks.js';
import { copyButton } from '../ui/clipboard.js';
import { announce, icon, make } from '../ui/dom.js';
import { recall, remember } from '../ui/storage.js';

/** How near the end, in pixels, still counts as being at the end. */
const NEAR = 120;
const SIDES = /** @type {const} */ (['A', 'B']);

/** @typedef {import('../chat/tree.js').Answer} Answer */
/** @typedef {{question: string, models: string[], answers: Answer[], element: HTMLElement}} Round */

/** Kept while the console is open, so that a look at another page loses nothing. */
const kept = { system: '', rounds: /** @type {Round[]} */ ([]), models: /** @type {string[]} */ ([]), blind: false };

/** @type {import('../app.js').Page} */
export const page = {
  title: 'Compare',
  mount(root, context) {
    const view = new Comparison(root, context);
    return () => view.leave();
  },
};

class Comparison {
  #context;
  #root;
  #rounds = make('div', { className: 'rounds', 'aria-live': 'off' });
  #area = /** @type {HTMLTextAreaElement} */ (
    make('textarea', { id: 'compare-question', rows: 2, placeholder: 'One message for both models' })
  );
  #send = /** @type {HTMLButtonElement} */ (
    make('button', { type: 'submit', className: 'send', title: 'Send' }, icon('send'), make('span', { className: 'visually-hidden' }, 'Send'))
  );
  #stop = make(
    'button',
    { type: 'button', className: 'send stop', title: 'Stop', hidden: true, onclick: () => this.#controller?.abort() },
    icon('stop'),
    make('span', { className: 'visually-hidden' }, 'Stop'),
  );
  #pickers = make('div', { className: 'compare-pickers' });
  #problem = make('p', { className: 'problem boxed', role: 'alert', hidden: true });
  /** @type {AbortController | null} */
  #controller = null;
  #refresh = () => this.#showPickers();

  /**
   * @param {HTMLElement} root
   * @param {import('../app.js').Context} context
   */
  constructor(root, context) {
    this.#root = root;
    this.#context = context;
    const form = make(
      'form',
      { className: 'composer', onsubmit: (/** @type {Event} */ event) => this.#submit(event) },
      make('label', { className: 'visually-hidden', htmlFor: 'compare-question' }, 'Message to both'),
      this.#area,
      this.#send,
      this.#stop,
    );
    this.#area.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    root.classList.add('compare');
    root.append(this.#pickers, this.#rounds, make('div', { className: 'compare-dock' }, this.#problem, form));
    context.settings.attach(kept);
    context.picker.addEventListener('change', this.#refresh);
    this.#showPickers();
    this.#rounds.append(...kept.rounds.map(({ element }) => element));
    if (!kept.rounds.length) this.#showEmpty();
  }

  leave() {
    this.#controller?.abort();
    this.#root.classList.remove('compare');
    this.#context.picker.removeEventListener('change', this.#refresh);
  }

  #showEmpty() {
    this.#rounds.replaceChildren(
      make(
        'div',
        { className: 'nothing' },
        make('p', {}, 'Choose two models and ask once: both answer at the same time, with their speed beside them.'),
      ),
    );
  }

  #showPickers() {
    const { models } = this.#context.picker;
    if (!models.length) {
      this.#pickers.replaceChildren(make('p', { className: 'hint' }, 'Looking for models…'));
      return;
    }
    const wanted = kept.models.length ? kept.models : (recall(localStorage, 'compare') ?? []);
    kept.models = SIDES.map((_, index) =>
      models.includes(wanted[index]) ? wanted[index] : models[Math.min(index, models.length - 1)],
    );
    const blind = /** @type {HTMLInputElement} */ (make('input', { type: 'checkbox', id: 'blind', checked: kept.blind }));
    blind.addEventListener('change', () => {
      kept.blind = blind.checked;
    });
    this.#pickers.replaceChildren(
      ...SIDES.map((side, index) => {
        const control = select(
          `compare-${side}`,
          models.map((model) => [model, model]),
          kept.models[index],
          (value) => {
            kept.models[index] = value;
            remember(localStorage, 'compare', kept.models);
          },
        );
        return make('div', { className: 'compare-picker' }, make('label', { htmlFor: control.id }, `Model ${side}`), control);
      }),
      make('label', { className: 'check', title: 'Hides which model is which until you have chosen' }, blind, 'Blind'),
      button('Clear', () => this.#clear(), { icon: 'trash' }),
    );
  }

  #clear() {
    this.#controller?.abort();
    kept.rounds = [];
    this.#showEmpty();
    this.#area.focus();
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const question = this.#area.value.trim();
    if (!question || this.#controller || !this.#context.settings.check()) return;
    if (!kept.models.length) {
      this.#say('There is no model to ask yet.');
      return;
    }
    this.#say('');
    this.#area.value = '';
    this.#ask(question);
  }

  /** @param {string} sentence */
  #say(sentence) {
    this.#problem.textContent = sentence;
    this.#problem.hidden = !sentence;
  }

  /** @param {string} question */
  async #ask(question) {
    const { settings, readiness } = this.#context;
    const [blind, system, parameters] = [kept.blind, kept.system, settings.values];
    // Blind, a coin says which model is on the left; the rounds that follow keep to it, or they would give it away.
    const before = kept.rounds.at(-1);
    const same = before && [...before.models].sort().join('\n') === [...kept.models].sort().join('\n');
    const swap = crypto.getRandomValues(new Uint8Array(1))[0] % 2 === 1;
    const models = blind ? (same ? before.models : swap ? kept.models.toReversed() : [...kept.models]) : [...kept.models];
    const controller = new AbortController();
    this.#controller = controller;
    this.#busy(true);
    if (!kept.rounds.length) this.#rounds.replaceChildren();
    const answers = models.map((model) => /** @type {Answer} */ (emptyAnswer('', model, parameters, Date.now())));
    const columns = answers.map((turn, index) => new Column(turn, SIDES[index], blind));
    const verdict = make('div', { className: 'verdict' });
    const element = make(
      'section',
      { className: 'round', 'aria-label': question.slice(0, 80) },
      make('h2', { className: 'visually-hidden' }, 'You'),
      make('div', { className: 'bubble' }, question),
      make('div', { className: 'columns' }, ...columns.map((column) => column.element)),
      verdict,
    );
    const round = { question, models, answers, element };
    const earlier = kept.rounds.filter(({ models: own }) => own.join('\n') === models.join('\n'));
    kept.rounds.push(round);
    this.#rounds.append(element);
    element.scrollIntoView({ block: 'start' });
    announce('Waiting for both answers');
    await Promise.all(
      columns.map(async (column, side) => {
        const turns = [...earlier, round].flatMap(({ question: content, answers: given }) => [
          { role: /** @type {const} */ ('user'), content },
          { role: /** @type {const} */ ('assistant'), content: given[side].content },
        ]);
        const body = { model: models[side], messages: messagesFor(turns.slice(0, -1), system), ...parameters };
        await answer(answers[side], body, {
          signal: controller.signal,
          watcher: column.live,
          modelReady: (signal) => readiness.whenReady(models[side], signal),
        });
        column.end();
      }),
    );
    this.#controller = null;
    this.#busy(false);
    announce('Both answers are complete');
    for (const [side, column] of columns.entries()) column.compare(answers[1 - side]);
    const atEnd = this.#rounds.scrollHeight - this.#rounds.scrollTop - this.#rounds.clientHeight < NEAR;
    const both = answers.every(({ content, error }) => content && !error);
    if (both) this.#offerVerdict(verdict, round, columns, blind);
    else for (const column of columns) column.reveal();
    if (atEnd) this.#rounds.scrollTop = this.#rounds.scrollHeight;
    this.#area.focus({ preventScroll: true });
    await Promise.all(columns.map((column) => column.measure()));
  }

  /** @param {boolean} busy */
  #busy(busy) {
    this.#send.hidden = busy;
    this.#stop.hidden = !busy;
  }

  /**
   * @param {HTMLElement} place
   * @param {Round} round
   * @param {Column[]} columns
   * @param {boolean} blind
   */
  #offerVerdict(place, { answers, models }, columns, blind) {
    /** @param {number | null} better the side, or null for neither */
    const choose = async (better) => {
      for (const column of columns) column.reveal();
      const words = better === null ? 'Neither is better.' : `${SIDES[better]} is better: ${models[better]}.`;
      place.replaceChildren(make('p', { role: 'status' }, words));
      if (better === null) return;
      try {
        const how = blind ? 'blind ' : '';
        for (const [side, turn] of answers.entries())
          if (turn.requestId)
            await sendFeedback(turn.requestId, {
              rating: side === better ? 'up' : 'down',
              comment: `In a ${how}comparison with ${models[1 - side]}.`,
            });
        place.append(make('p', { className: 'hint' }, 'Kept as feedback on both answers.'));
      } catch (error) {
        place.append(make('p', { className: 'problem' }, `The choice was not kept: ${sentenceOf(error)}`));
      }
    };
    place.replaceChildren(
      make('p', {}, blind ? 'Which is better? The names come after your choice.' : 'Which is better?'),
      make(
        'div',
        { className: 'row' },
        button('A', () => choose(0)),
        button('B', () => choose(1)),
        button('Neither', () => choose(null)),
      ),
    );
  }
}

/** One side of a round. */
class Column {
  #turn;
  #side;
  #name = make('h3', { className: 'speaker' });
  #tools = make('div');
  #thoughts = make('div', { className: 'markdown' });
  #thinking = make('details', { className: 'thinking', hidden: true }, make('summary', {}, 'Thoughts'), this.#thoughts);
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
    const note = error?.message ?? (stopped ? 'Stopped.' : finish === 'length' ? 'Cut off at its longest length.' : '');
    if (note)
      this.#figures.before(make('div', error ? { className: 'error', role: 'alert' } : { className: 'note' }, make('p', {}, note)));
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
  const marks = [];
  if (turn.error || other.error) return marks;
  if (turn.firstTokenMs !== null && turn.firstTokenMs < (other.firstTokenMs ?? 0)) marks.push(badge('good', 'First to begin'));
  const [own, its] = [speed(turn).perSecond, speed(other).perSecond];
  if (own && its && own > its) marks.push(badge('good', `${(own / its).toFixed(1)} × the tokens/s`));
  return marks;
}
