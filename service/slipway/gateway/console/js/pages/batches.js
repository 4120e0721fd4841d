/** Batches: many requests in a file, answered when there is room. */

import { call, callJson, sentenceOf } from '../api/request.js';
import { badge, button, field, fill, nothing, section, select, when } from '../ui/blocks.js';
import { box, confirm } from '../ui/dialogs.js';
import { announce, make } from '../ui/dom.js';
import { saveAs } from '../ui/files.js';
import { count } from '../ui/format.js';
import { table } from '../ui/tables.js';
import { WrongInput } from './access-form.js';

const EVERY_MS = 4000;
const ENDPOINTS = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/responses'];

/** @type {Record<string, ['good' | 'warn' | 'bad' | 'plain', string]>} */
const STATES = {
  validating: ['plain', 'Being checked'],
  in_progress: ['plain', 'Running'],
  finalizing: ['plain', 'Being written'],
  completed: ['good', 'Complete'],
  failed: ['bad', 'Failed'],
  expired: ['bad', 'Out of time'],
  cancelling: ['warn', 'Being cancelled'],
  cancelled: ['warn', 'Cancelled'],
};
const RUNNING = ['validating', 'in_progress', 'finalizing'];

/** @type {import('../app.js').Page} */
export const page = {
  title: 'Batches',
  mount(root) {
    const list = make('div');
    const reload = () => fill(list, () => callJson('v1/batches', { query: { limit: 50 } }), show);

    /** @param {{data: any[]}} loaded */
    const show = ({ data }) => {
      if (!data.length)
        return [
          nothing(
            'There is no batch yet. A batch answers a file of requests, one JSON object a line, at low priority.',
          ),
        ];
      return [
        table(
          'Batches',
          [
            { title: 'Batch', cell: ({ id }) => make('code', {}, id) },
            { title: 'State', cell: stateOf },
            { title: 'Done', cell: progress },
            { title: 'Answers', cell: ({ endpoint }) => make('code', {}, endpoint) },
            { title: 'Made', cell: (batch) => when(batch.created_at) },
            { title: 'Actions', quiet: true, cell: actions },
          ],
          data,
        ),
      ];
    };

    /** @param {any} batch */
    const actions = ({ id, status, output_file_id: output, error_file_id: errors }) => {
      const named = (/** @type {HTMLElement} */ control, /** @type {string} */ name) => {
        control.setAttribute('aria-label', `${name} ${id}`);
        return control;
      };
      return make(
        'div',
        { className: 'row tight' },
        output
          ? named(
              button('Results', () => download(output, `${id}-results.jsonl`), { icon: 'import' }),
              'Download the results of',
            )
          : null,
        errors
          ? named(
              button('Errors', () => download(errors, `${id}-errors.jsonl`), { icon: 'import' }),
              'Download the errors of',
            )
          : null,
        RUNNING.includes(status)
          ? named(
              button('Cancel', () => cancel(id), { danger: true }),
              'Cancel the batch',
            )
          : null,
      );
    };

    /** @param {string} id */
    const cancel = async (id) => {
      const text =
        'Requests that run are finished; those that wait are not begun. What is done can still be read.';
      if (!(await confirm({ title: 'Cancel this batch?', text, button: 'Cancel the batch' }))) return;
      await report(async () => {
        await callJson(`v1/batches/${encodeURIComponent(id)}/cancel`, { method: 'POST' });
        announce('The batch is being cancelled.');
      });
      await reload();
    };
    const create = async () => {
      if (await batchForm()) {
        announce('The batch is made.');
        await reload();
      }
    };
    root.append(
      section(
        'Batches',
        {
          hint: 'Files of requests that are answered when there is room.',
          tools: [button('New batch', create, { icon: 'plus', primary: true })],
        },
        list,
      ),
    );
    reload();
    const timer = setInterval(() => {
      if (!document.hidden && !list.contains(document.activeElement)) reload();
    }, EVERY_MS);
    return () => clearInterval(timer);
  },
};

/** @param {any} batch */
function stateOf({ status, errors }) {
  const [kind, words] = STATES[status] ?? ['plain', status];
  const why = errors?.data?.[0]?.message;
  return make('span', {}, badge(kind, words), why ? make('span', { className: 'hint' }, ` ${why}`) : null);
}

/** @param {any} batch */
function progress({ id, request_counts: counts }) {
  if (!counts?.total) return '–';
  const done = counts.completed + counts.failed;
  return make(
    'div',
    { className: 'done' },
    make('progress', { max: counts.total, value: done, 'aria-label': `Done of ${id}` }),
    make(
      'span',
      {},
      `${count(done)} of ${count(counts.total)}${counts.failed ? `, ${count(counts.failed)} failed` : ''}`,
    ),
  );
}

/**
 * @param {string} file
 * @param {string} name
 */
const download = (file, name) =>
  report(async () => {
    const response = await call(`v1/files/${encodeURIComponent(file)}/content`);
    saveAs(name, await response.blob(), 'application/jsonl');
  });

/** Does something, and says so where it did not work. @param {() => Promise<unknown>} act */
async function report(act) {
  try {
    await act();
  } catch (error) {
    await box('That did not work', [make('p', {}, sentenceOf(error))], () => null, {
      button: 'Close',
      cancel: '',
    });
  }
}

/** @returns {Promise<any>} */
function batchForm() {
  const file = /** @type {HTMLInputElement} */ (
    make('input', { type: 'file', id: 'batch-file', accept: '.jsonl,application/jsonl,text/plain' })
  );
  const endpoint = select(
    'batch-endpoint',
    ENDPOINTS.map((each) => [each, each]),
    ENDPOINTS[0],
  );
  const read = async () => {
    const chosen = file.files?.[0];
    if (!chosen) throw new WrongInput('Choose a file first.');
    const form = new FormData();
    form.append('purpose', 'batch');
    form.append('file', chosen);
    const uploaded = await callJson('v1/files', { form });
    return callJson('v1/batches', {
      body: { input_file_id: uploaded.id, endpoint: endpoint.value, completion_window: '24h' },
    });
  };
  return box(
    'New batch',
    [
      field(
        'File of requests',
        file,
        'One JSON object a line: custom_id, method, url and body, as for OpenAI’s batches.',
      ),
      field('Answered by', endpoint),
    ],
    read,
    { button: 'Begin', fault: (error) => (error instanceof WrongInput ? error.message : sentenceOf(error)) },
  );
}
