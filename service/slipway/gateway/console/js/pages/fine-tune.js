/** One fine-tuning job, live: where it stands, its curves, what happened, its checkpoints. */

import { address, callJson, sentenceOf } from '../api/request.js';
import { badge, button, facts, fill, nothing, section, when } from '../ui/blocks.js';
import { box, confirm } from '../ui/dialogs.js';
import { announce, make } from '../ui/dom.js';
import { curvesOver } from '../ui/curves.js';
import { count } from '../ui/format.js';
import { table } from '../ui/tables.js';

const EVERY_MS = 2000;
/** Most events that the API gives at once, the newest first. */
const EVENTS = 1000;
const LIVE = ['validating_files', 'queued', 'running', 'paused'];
const SHOWN = 200;
/** @type {[string, string][]} metrics that are drawn, and what they are called */
const CURVES = [
  ['train_loss', 'Loss'],
  ['valid_loss', 'Loss on the validation part'],
];

/**
 * @param {HTMLElement} root
 * @param {string} id
 * @param {(job: any) => Node} stateOf
 * @param {(model: string) => void} talk begins a chat with a model
 * @returns {() => void}
 */
export function job(root, id, stateOf, talk) {
  const path = `v1/fine_tuning/jobs/${encodeURIComponent(id)}`;
  const head = make('div');
  const figures = make('div');
  const papers = make('div');
  const checkpoints = make('div');
  const log = make('div');
  const curves = liveCurves(figures);
  let live = true;

  const load = async () => {
    const [found, written, events, kept] = await Promise.all([
      callJson(path),
      callJson(`${path}/reports`),
      callJson(`${path}/events`, { query: { limit: EVENTS } }),
      callJson(`${path}/checkpoints`, { query: { limit: 100 } }),
    ]);
    return { found, reports: written.data, events: events.data, kept: kept.data };
  };
  const reload = () =>
    fill(head, load, ({ found, reports, events, kept }) => {
      live = LIVE.includes(found.status);
      curves.show(events);
      papers.replaceChildren(...linksTo(reports));
      checkpoints.replaceChildren(...tableOf(kept));
      log.replaceChildren(...told(events));
      return [factsOf(found, stateOf), actions(found)];
    });

  /** @param {string} verb @param {string} sentence */
  const ask = async (verb, sentence) => {
    try {
      await callJson(`${path}/${verb}`, { method: 'POST' });
      announce(sentence);
    } catch (error) {
      await box('That did not work', [make('p', {}, sentenceOf(error))], () => null, {
        button: 'Close',
        cancel: '',
      });
    }
    await reload();
  };
  const cancel = async () => {
    const text = 'What it has learned until now is not kept for use.';
    if (await confirm({ title: 'Cancel this job?', text, button: 'Cancel the job' }))
      await ask('cancel', 'The job is being cancelled.');
  };

  /** @param {any} found */
  const actions = ({ status, fine_tuned_model: name }) =>
    make(
      'div',
      { className: 'row' },
      status === 'running' || status === 'queued'
        ? button('Pause', () => ask('pause', 'The job pauses at its next checkpoint.'))
        : null,
      status === 'paused' ? button('Resume', () => ask('resume', 'The job goes on.'), { primary: true }) : null,
      LIVE.includes(status) ? button('Cancel', cancel, { danger: true }) : null,
      name
        ? button('Chat with the new model', () => talk(name), { icon: 'chat', primary: true })
        : null,
    );

  root.append(
    make('p', {}, make('a', { href: '#/fine-tuning' }, 'All fine-tuning jobs')),
    section('Job', { hint: id }, head),
    section('Loss', { hint: 'Of each step, and of the validation part where it was looked at.' }, figures),
    section('Reports', { hint: 'What was found out on the way, each in a tab of its own.' }, papers),
    section('Checkpoints', {}, checkpoints),
    section('What happened', { hint: 'The newest first.' }, log),
  );
  reload();
  const timer = setInterval(() => {
    if (live && !document.hidden && !head.contains(document.activeElement)) reload();
  }, EVERY_MS);
  return () => {
    clearInterval(timer);
    curves.end();
  };
}

/** @param {any} found @param {(job: any) => Node} stateOf */
function factsOf(found, stateOf) {
  const own = found.method?.[found.method.type]?.hyperparameters ?? {};
  return facts([
    ['State', stateOf(found)],
    ['Base model', make('code', {}, found.model)],
    ['New model', found.fine_tuned_model ? make('code', {}, found.fine_tuned_model) : null],
    ['Learns from', found.method?.type === 'dpo' ? 'Preferences (DPO)' : 'Answers (supervised)'],
    [
      'Hyperparameters',
      Object.entries(own)
        .map(([name, value]) => `${name.replace(/^n_/, '').replaceAll('_', ' ')} ${value}`)
        .join(', '),
    ],
    ['Tokens learned from', found.trained_tokens ? count(found.trained_tokens) : null],
    ['Made', when(found.created_at)],
    ['Ended', found.finished_at ? when(found.finished_at) : null],
  ]);
}

/** Curves that grow with the events. @param {HTMLElement} root */
function liveCurves(root) {
  /** @type {ReturnType<typeof curvesOver> | null} */
  let chart = null;
  const values = make('div');
  return {
    /** @param {any[]} events */
    show: (events) => {
      const { steps, curves } = read(events);
      if (!steps.length) {
        if (!chart) root.replaceChildren(nothing('There are no figures yet.'));
        return;
      }
      if (chart) chart.show(steps, curves);
      else {
        chart = curvesOver('Loss by step', steps, curves, (value) => value.toPrecision(3));
        const more = make('details', {}, make('summary', {}, 'The loss as a table'), values);
        root.replaceChildren(chart.element, more);
      }
      const rows = steps.map((step, at) => ({ step, at })).slice(-SHOWN);
      values.replaceChildren(
        table(
          'Loss by step',
          [
            { title: 'Step', number: true, cell: ({ step }) => count(step) },
            ...curves.map(({ name, values: list }) => ({
              title: name,
              number: true,
              cell: (/** @type {{at: number}} */ { at }) => list[at]?.toFixed(4) ?? null,
            })),
          ],
          rows,
        ),
      );
    },
    end: () => chart?.end(),
  };
}

/** @param {any[]} events */
function read(events) {
  /** @type {Map<number, Record<string, number>>} */
  const found = new Map();
  for (const { type, data } of events)
    if (type === 'metrics' && Number.isFinite(data?.step))
      found.set(data.step, { ...data, ...found.get(data.step) });
  const steps = [...found.keys()].sort((a, b) => a - b);
  const curves = CURVES.map(([metric, name]) => ({
    name,
    values: steps.map((step) => found.get(step)?.[metric] ?? null),
  }));
  return { steps, curves };
}

/** @param {any[]} reports */
function linksTo(reports) {
  if (!reports.length) return [nothing('There is no report yet.')];
  return [
    make(
      'ul',
      { className: 'row' },
      ...reports.map(({ title, url }) =>
        make('li', {}, make('a', { href: address(url), target: '_blank', rel: 'noopener' }, title)),
      ),
    ),
  ];
}

/** @param {any[]} kept */
function tableOf(kept) {
  if (!kept.length) return [nothing('There is no checkpoint yet.')];
  return [
    table(
      'Checkpoints',
      [
        { title: 'Step', number: true, cell: ({ step_number: step }) => count(step) },
        {
          title: 'Loss on the validation part',
          number: true,
          cell: ({ metrics }) => metrics?.valid_loss?.toFixed(4) ?? null,
        },
        { title: 'Kept', cell: (each) => when(each.created_at) },
      ],
      kept,
    ),
  ];
}

/** @param {any[]} events */
function told(events) {
  const messages = events.filter(({ type }) => type === 'message').slice(0, SHOWN);
  if (!messages.length) return [nothing('Nothing has happened yet.')];
  return [
    table(
      'Events',
      [
        { title: 'When', cell: (event) => when(event.created_at) },
        {
          title: 'What',
          cell: ({ level, message }) =>
            make(
              'span',
              {},
              level === 'error' ? badge('bad', 'Error') : level === 'warn' ? badge('warn', 'Warning') : null,
              level === 'info' ? message : ` ${message}`,
            ),
        },
      ],
      messages,
    ),
  ];
}
