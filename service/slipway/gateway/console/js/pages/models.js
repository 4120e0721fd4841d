/** Models: what each does, how it is doing, and for admins why. */

import { listModels, canChat } from '../chat/models.js';
import { badge, button, facts, fill, nothing, section } from '../ui/blocks.js';
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

/** @type {Record<string, 'good' | 'warn' | 'bad' | 'plain'>} */
const STATES = { Ready: 'good', Progressing: 'warn', Degraded: 'warn', Failed: 'bad', Stopping: 'plain' };

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
      const { id, task = 'generate', parent, created, state, status } = model;
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
          stateBadge(state, ready),
        ),
        make('p', { className: 'hint' }, details.filter(Boolean).join(' · ')),
        message ? make('p', { className: 'reason' }, message) : null,
        part === null ? null : make('progress', { max: 1, value: part, 'aria-label': `Start of ${id}` }),
        status ? standing(status) : null,
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
    const stateOf = ({ id, ready, reason, state, status }) => {
      const known = readiness.state.models.get(id);
      if (ready ?? known?.ready ?? true) {
        const said = state === 'Ready' || !status ? [] : [status.reason, status.message];
        return { ready: true, message: said.filter(Boolean).join(': '), part: null };
      }
      // Admins are told more here than anybody is by `/readyz`.
      const message = known && !known.ready && !status ? known.message : (reason ?? 'It is starting.');
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

/**
 * The state of its service; of one that is ready without an engine, that it cannot be asked.
 * @param {string | null | undefined} state
 * @param {boolean} ready
 */
function stateBadge(state, ready) {
  if (state && state !== 'Ready') return badge(STATES[state] ?? 'plain', state);
  return ready ? badge('good', 'Ready') : badge('warn', 'Not ready');
}

/** Replicas, and while there is more than one the revisions. @param {import('../chat/models.js').Status} status */
function standing({ replicas, ready_replicas: ready, phase, revisions }) {
  const rolling = revisions.length > 1;
  return facts([
    ['Replicas', `${ready} of ${replicas} ready`],
    ['Rollout', rolling && phase],
    ...(rolling ? revisions.map(revisionRow) : []),
  ]);
}

/**
 * @param {import('../chat/models.js').Status['revisions'][number]} revision
 * @returns {[string, Node]}
 */
function revisionRow({ revision, role, weight, ready }) {
  const said = [role, weight === null ? '' : `${weight} % of requests`, `${ready} ready`];
  return ['Revision', make('span', {}, make('code', {}, revision), ` ${said.filter(Boolean).join(' · ')}`)];
}
