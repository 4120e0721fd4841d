/** Puts the console together. */

import { ApiError } from './api.js';
import { Chat } from './chat.js';
import { Composer } from './composer.js';
import { announce, byId, make } from './dom.js';
import { KeyDialog } from './key-dialog.js';
import { currentKey, takeKeyFromAddress } from './keys.js';
import { ModelPicker } from './models.js';
import { ReadinessWatch } from './readiness.js';
import { Follower } from './scrolling.js';
import { Settings } from './settings.js';
import { UseDialog } from './use-dialog.js';

/** How often a gateway without a chat model is asked again. */
const EMPTY_EVERY_MS = 4000;

const EXAMPLES = [
  ['Explain', 'Explain how a transformer reads a sentence, in five short points.'],
  ['Write code', 'Write a Python function that merges overlapping intervals, with a test.'],
  ['Compare', 'Compare TCP and UDP in a table: order, loss, speed, uses.'],
  ['Rewrite', 'Rewrite politely: "Your report is late again and nobody can work."'],
];

takeKeyFromAddress();
const settings = new Settings();
const composer = new Composer();
const picker = new ModelPicker();
const readiness = new ReadinessWatch();
const keyDialog = new KeyDialog();
const useDialog = new UseDialog();
const chat = new Chat({
  model: () => picker.chosen,
  key: currentKey,
  settings,
  readiness,
  follower: new Follower(),
  setBusy: (busy) => {
    composer.busy = busy;
  },
  onError: (error) => {
    if (error?.status === 401) keyDialog.refused(error.message);
    if (error?.status === 404) refreshModels();
    if (error?.status === 503 || error?.code === 'unreachable') readiness.look();
  },
  openKey: () => keyDialog.open(),
});

/** @param {string} sentence '' takes the notice away */
function notice(sentence) {
  byId('notice').textContent = sentence;
  byId('notice').hidden = !sentence;
}

async function refreshModels() {
  try {
    await picker.refresh(currentKey());
    notice('');
    if (picker.empty) setTimeout(refreshModels, EMPTY_EVERY_MS);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) keyDialog.refused(error.message);
    else if (error.code === 'unreachable') readiness.look();
    else notice(error.message);
  }
}

function showReadiness() {
  const { ready, message, part } = picker.chosen ? readiness.of(picker.chosen) : readiness.state;
  const text = ready
    ? ''
    : readiness.state.models.has(picker.chosen)
      ? `${picker.chosen}: ${message}`
      : message;
  if (byId('starting-text').textContent !== text) byId('starting-text').textContent = text;
  byId('starting').hidden = ready;
  const bar = /** @type {HTMLProgressElement} */ (byId('starting-part'));
  bar.hidden = part === null;
  if (part !== null) bar.value = part;
  picker.mark(ready ? (picker.chosen ? 'ready' : 'none') : 'starting');
  byId('examples').hidden = picker.empty;
  byId('empty-text').textContent = picker.empty
    ? 'This gateway serves no chat model yet. It appears here as soon as there is one.'
    : 'Ask anything, or begin with one of these.';
}

/** @param {string} question */
function ask(question) {
  if (!picker.chosen) {
    notice('There is no model to ask yet.');
    refreshModels();
    return;
  }
  if (!settings.check()) return;
  notice('');
  composer.text = '';
  chat.ask(question);
}

const ACTIONS = {
  new: () => {
    chat.clear();
    composer.focus();
  },
  use: () =>
    useDialog.open(composer.text ? chat.bodyFor(composer.text) : (chat.lastBody() ?? chat.bodyFor('Hello!'))),
  key: () => keyDialog.open(),
  settings: () => settings.toggle(),
};

addEventListener('click', (event) => {
  if (!(event.target instanceof Element)) return;
  const { action, close } =
    /** @type {HTMLElement | null} */ (event.target.closest('[data-action], [data-close]'))?.dataset ?? {};
  if (action && action in ACTIONS) ACTIONS[/** @type {keyof typeof ACTIONS} */ (action)]();
  if (close) /** @type {HTMLDialogElement} */ (byId(close)).close();
});

for (const [title, question] of EXAMPLES)
  byId('examples').append(
    make(
      'li',
      {},
      make(
        'button',
        { type: 'button', className: 'example', onclick: () => ask(question) },
        make('strong', {}, title),
        question,
      ),
    ),
  );

composer.addEventListener('send', () => ask(composer.text));
composer.addEventListener('stop', () => chat.stop());
picker.addEventListener('change', showReadiness);
keyDialog.addEventListener('change', () => {
  notice('');
  refreshModels();
});
readiness.addEventListener('change', (event) => {
  showReadiness();
  if (!(/** @type {CustomEvent} */ (event).detail.becameReady)) return;
  announce('Ready');
  refreshModels();
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden || byId('key-dialog').hasAttribute('open')) return;
  readiness.look();
  if (!picker.chosen) refreshModels();
});

refreshModels();
readiness.look();
if (matchMedia('(pointer: fine)').matches && !document.querySelector('dialog:modal')) composer.focus();
