/** Models: what each does, whether it is ready, and why not. */

import { listModels, canChat } from '../chat/models.js';
import { badge, button, fill, nothing, section } from '../ui/blocks.js';
import { copyButton } from '../ui/clipboard.js';
import { make } from '../ui/dom.js';
import { moment } from '../ui/format.js';

const EVERY_MS = 4000;
const TASKS = {
  generate: 'Chat and text',
  embed: 'Embeddings',
  score: 'Scores and ranks',
  classify: 'Classifies',
};

/** @typedef {import('../chat/models.js').Model} Model */

/** @type {import('../app.js').Page} */
export const page = {
  title: 'Models',
  mount(root, { picker, readiness, use }) {
    const list = make('div');

    /** @param {Model[]} models */
    const show = (models) =>
      models.length
        ? [make('ul', { className: 'cards' }, ...models.map(card))]
        : [nothing('No model is served, or this key may call none.')];

    /** @param {Model} model */
    const card = (model) => {
      const { id, task = 'generate', parent, created } = model;
      const { ready, message, part } = stateOf(model);
      const chat = () => {
        picker.choose(id);
        location.hash = '#/chat';
      };
      const program = () => use({ model: id, messages: [{ role: 'user', content: 'What is gravity?' }] });
      const details = [
        TASKS[/** @type {keyof typeof TASKS} */ (task)] ?? task,
        parent ? `adapter of ${parent}` : '',
        created ? `served since ${moment(created)}` : '',
      ];
      return make(
        'li',
        { className: 'card' },
        make(
          'div',
          { className: 'card-head' },
          make('h3', {}, id),
          copyButton(`Copy the name ${id}`, () => id),
          ready ? badge('good', 'Ready') : badge('warn', 'Not ready'),
        ),
        make('p', { className: 'hint' }, details.filter(Boolean).join(' · ')),
        ready ? null : make('p', { className: 'reason' }, message),
        part === null ? null : make('progress', { max: 1, value: part, 'aria-label': `Start of ${id}` }),
        canChat(model)
          ? make(
              'div',
              { className: 'row' },
              button('Chat', chat, { icon: 'chat' }),
              button('Use this', program, { icon: 'code' }),
            )
          : null,
      );
    };

    /** @param {Model} model */
    const stateOf = ({ id, ready, reason }) => {
      const known = readiness.state.models.get(id);
      if (ready ?? known?.ready ?? true) return { ready: true, message: '', part: null };
      const message = known && !known.ready ? known.message : (reason ?? 'It is starting.');
      return {
        ready: false,
        message: `${message.charAt(0).toUpperCase()}${message.slice(1)}`,
        part: known?.part ?? null,
      };
    };

    const look = async () => {
      await readiness.look();
      return listModels();
    };
    root.append(section('Models', { hint: 'Those that you may call.' }, list));
    fill(list, look, show);
    const timer = setInterval(() => {
      // What has the focus would lose it.
      if (!document.hidden && !list.contains(document.activeElement)) fill(list, look, show);
    }, EVERY_MS);
    return () => clearInterval(timer);
  },
};
