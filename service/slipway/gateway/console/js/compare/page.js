/** Two models side by side: one prompt, both answer at once. Blind, the names come after the choice. */

import { sentenceOf } from '../api/request.js';
import { answer } from '../chat/answering.js';
import { sendFeedback } from '../chat/feedback.js';
import { emptyAnswer, messagesFor } from '../chat/tree.js';
import { button, select } from '../ui/blocks.js';
import { announce, icon, make } from '../ui/dom.js';
import { recall, remember } from '../ui/storage.js';
import { Column } from './column.js';

/** How near the end, in pixels, still counts as being at the end. */
const NEAR = 120;
const SIDES = /** @type {const} */ (['A', 'B']);

/** @typedef {import('../chat/tree.js').Answer} Answer */
/** @typedef {{question: string, models: string[], answers: Answer[], element: HTMLElement}} Round */

/** Kept while the console is open, so that a look at another page loses nothing. */
const kept = {
  system: '',
  rounds: /** @type {Round[]} */ ([]),
  models: /** @type {string[]} */ ([]),
  blind: false,
};

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
    make(
      'button',
      { type: 'submit', className: 'send', title: 'Send' },
      icon('send'),
      make('span', { className: 'visually-hidden' }, 'Send'),
    )
  );
  #stop = make(
    'button',
    {
      type: 'button',
      className: 'send stop',
      title: 'Stop',
      hidden: true,
      onclick: () => this.#controller?.abort(),
    },
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
    const form = /** @type {HTMLFormElement} */ (
      make(
        'form',
        { className: 'composer', onsubmit: (/** @type {Event} */ event) => this.#submit(event) },
        make('label', { className: 'visually-hidden', htmlFor: 'compare-question' }, 'Message to both'),
        this.#area,
        this.#send,
        this.#stop,
      )
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
        make(
          'p',
          {},
          'Choose two models and ask once: both answer at the same time, with their speed beside them.',
        ),
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
    const blind = /** @type {HTMLInputElement} */ (
      make('input', { type: 'checkbox', id: 'blind', checked: kept.blind })
    );
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
        return make(
          'div',
          { className: 'compare-picker' },
          make('label', { htmlFor: control.id }, `Model ${side}`),
          control,
        );
      }),
      make(
        'label',
        { className: 'check', title: 'Hides which model is which until you have chosen' },
        blind,
        'Blind',
      ),
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
    const models = blind
      ? same
        ? before.models
        : swap
          ? kept.models.toReversed()
          : [...kept.models]
      : [...kept.models];
    const controller = new AbortController();
    this.#controller = controller;
    this.#busy(true);
    if (!kept.rounds.length) this.#rounds.replaceChildren();
    const answers = models.map(
      (model) => /** @type {Answer} */ (emptyAnswer('', model, parameters, Date.now())),
    );
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
        const body = {
          model: models[side],
          messages: messagesFor(turns.slice(0, -1), system),
          ...parameters,
        };
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
