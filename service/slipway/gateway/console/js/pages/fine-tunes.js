/** Fine-tuning jobs: a model learns from a file of examples, and is called by a name of its own. */

import { callJson, sentenceOf } from '../api/request.js';
import { badge, button, field, nothing, section, select, when } from '../ui/blocks.js';
import { box } from '../ui/dialogs.js';
import { announce, make } from '../ui/dom.js';
import { fromNow } from '../ui/format.js';
import { paged } from '../ui/paging.js';
import { table } from '../ui/tables.js';
import { WrongInput } from './access-form.js';
import { job } from './fine-tune.js';

const EVERY_MS = 4000;
const PAGE = 20;

/** @type {Record<string, ['good' | 'warn' | 'bad' | 'plain', string]>} */
const STATES = {
  validating_files: ['plain', 'Files are being checked'],
  queued: ['plain', 'Waiting'],
  running: ['plain', 'Running'],
  paused: ['warn', 'Paused'],
  succeeded: ['good', 'Complete'],
  failed: ['bad', 'Failed'],
  cancelled: ['warn', 'Cancelled'],
};

/** @type {import('../app.js').Page} */
export const page = {
  title: 'Fine-tuning',
  mount(root, { route, picker }) {
    const [id] = route.segments;
    const talk = (/** @type {string} */ model) => {
      picker.choose(model);
      location.hash = '#/chat';
    };
    if (id) return job(root, id, stateOf, talk);
    const list = make('div');
    const reload = paged(list, 'v1/fine_tuning/jobs', PAGE, show);
    const create = async () => {
      const made = await jobForm();
      if (!made) return;
      announce('The job is made.');
      location.hash = `#/fine-tuning/${encodeURIComponent(made.id)}`;
    };
    root.append(
      section(
        'Fine-tuning',
        {
          hint: 'A model learns from a file of examples, and is called by a name of its own.',
          tools: [button('New job', create, { icon: 'plus', primary: true })],
        },
        list,
      ),
    );
    const timer = setInterval(() => {
      if (!document.hidden && !list.contains(document.activeElement)) reload();
    }, EVERY_MS);
    return () => clearInterval(timer);
  },
};

/** @param {any[]} jobs */
function show(jobs) {
  if (!jobs.length)
    return [nothing('There is no job yet. Ten examples are enough to try one; a few hundred teach a style.')];
  return [
    table(
      'Fine-tuning jobs',
      [
        {
          title: 'Job',
          cell: ({ id }) => make('a', { href: `#/fine-tuning/${encodeURIComponent(id)}` }, make('code', {}, id)),
        },
        { title: 'State', cell: stateOf },
        { title: 'Base model', cell: ({ model }) => make('code', {}, model) },
        {
          title: 'Makes',
          cell: ({ fine_tuned_model: name }) => (name ? make('code', {}, name) : '–'),
        },
        { title: 'Begun', cell: (each) => when(each.created_at) },
      ],
      jobs,
    ),
  ];
}

/** A job's state, with when it is done or why it failed. @param {any} job */
function stateOf({ status, error, estimated_finish: finish }) {
  const [kind, words] = STATES[status] ?? ['plain', status];
  const left = status === 'running' && finish ? `done ${fromNow(finish - Date.now() / 1000)}` : '';
  const more = error?.message || left;
  return make('span', {}, badge(kind, words), more ? make('span', { className: 'hint' }, ` ${more}`) : null);
}

/** @param {string} id */
const fileInput = (id) =>
  /** @type {HTMLInputElement} */ (
    make('input', { type: 'file', id, accept: '.jsonl,application/jsonl,text/plain' })
  );

/** @returns {Promise<any>} the job, or null */
async function jobForm() {
  const { data: models } = await callJson('v1/models').catch(() => ({ data: [] }));
  const names = models.map((/** @type {any} */ each) => each.id).filter((/** @type {string} */ name) => !name.startsWith('ft:'));
  const model = select(
    'job-model',
    names.map((/** @type {string} */ name) => [name, name]),
    names[0] ?? '',
  );
  const method = select('job-method', [['supervised', 'Answers (supervised)'], ['dpo', 'Preferences (DPO)']], 'supervised');
  const training = fileInput('job-training');
  const validation = fileInput('job-validation');
  const epochs = /** @type {HTMLInputElement} */ (
    make('input', { id: 'job-epochs', type: 'number', min: '1', max: '1000', placeholder: 'auto' })
  );
  const suffix = /** @type {HTMLInputElement} */ (
    make('input', { id: 'job-suffix', maxLength: 64, autocomplete: 'off', pattern: '[A-Za-z0-9._-]*' })
  );
  const read = async () => {
    if (!training.files?.[0]) throw new WrongInput('Choose a file of examples first.');
    const upload = async (/** @type {File | undefined} */ file) => {
      if (!file) return undefined;
      const form = new FormData();
      form.append('purpose', 'fine-tune');
      form.append('file', file);
      return (await callJson('v1/files', { form })).id;
    };
    const hyperparameters = { n_epochs: epochs.value ? Number(epochs.value) : 'auto' };
    return callJson('v1/fine_tuning/jobs', {
      body: {
        model: model.value,
        training_file: await upload(training.files[0]),
        validation_file: await upload(validation.files?.[0]),
        suffix: suffix.value || undefined,
        method: { type: method.value, [method.value]: { hyperparameters } },
      },
    });
  };
  return box(
    'New fine-tuning job',
    [
      field('Base model', model),
      field('Learns from', method),
      field('File of examples', training, 'One JSON object a line, as for OpenAI’s fine-tuning; at least ten.'),
      field('File for validation', validation, 'A tenth of the examples is kept back if you leave this out.'),
      field('Passes over the examples', epochs),
      field('Part of its name', suffix, 'Letters, digits, points, - and _.'),
    ],
    read,
    { button: 'Begin', fault: (error) => (error instanceof WrongInput ? error.message : sentenceOf(error)) },
  );
}
