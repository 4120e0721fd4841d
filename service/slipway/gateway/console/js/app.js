/** Puts the console together. */

import { ChatPage } from './chat/page.js';
import { ModelPicker } from './chat/models.js';
import { ReadinessWatch } from './chat/readiness.js';
import { Settings } from './chat/settings.js';
import { takeKeyFromAddress } from './session/credentials.js';
import { finish } from './session/oidc.js';
import { Session } from './session/session.js';
import { SignInDialog } from './session/sign-in.js';
import { sentenceOf } from './api/request.js';
import { followAddress } from './shell/router.js';
import { Sidebar } from './shell/sidebar.js';
import { UseDialog } from './snippets/use-dialog.js';
import { byId, make } from './ui/dom.js';

/**
 * A page. `mount` fills an empty element and may return what ends it.
 * @typedef {{title: string, mount: (root: HTMLElement, context: Context) => void | (() => void)}} Page
 * @typedef {object} Context
 * @property {Session} session
 * @property {ModelPicker} picker
 * @property {Settings} settings
 * @property {ReadinessWatch} readiness
 * @property {import('./shell/router.js').Route} route
 * @property {(body: Record<string, unknown>) => void} use shows a request as a program
 * @property {() => void} signIn
 */

/** Pages beside the chat are loaded when they are first looked at. @type {Record<string, () => Promise<{page: Page}>>} */
const PAGES = {
  compare: () => import('./compare/page.js'),
  usage: () => import('./usage/page.js'),
  keys: () => import('./pages/keys.js'),
  owners: () => import('./pages/owners.js'),
  models: () => import('./pages/models.js'),
  'fine-tuning': () => import('./pages/fine-tunes.js'),
  batches: () => import('./pages/batches.js'),
  feedback: () => import('./pages/feedback.js'),
  audit: () => import('./pages/audit.js'),
  help: () => import('./pages/help.js'),
};

takeKeyFromAddress();
const session = new Session();
const settings = new Settings();
const picker = new ModelPicker();
const readiness = new ReadinessWatch();
const signIn = new SignInDialog(session);
const useDialog = new UseDialog();
const sidebar = new Sidebar(session);
const chat = new ChatPage({
  picker,
  settings,
  readiness,
  session,
  signIn: () => signIn.open(),
  use: (body) => useDialog.open(body),
});

/** @type {() => void} */
let leave = () => {};
let visits = 0;

/** @param {import('./shell/router.js').Route} route */
async function go(route) {
  const visit = (visits += 1);
  const name = route.name in PAGES ? route.name : 'chat';
  leave();
  leave = () => {};
  document.body.dataset.page = name;
  sidebar.mark(name);
  settings.close();
  const root = byId('page');
  const isChat = name === 'chat';
  chat.element.hidden = !isChat;
  root.hidden = isChat;
  root.replaceChildren();
  if (isChat) {
    byId('bar-title').textContent = 'Chat';
    document.title = 'Slipway';
    await chat.enter(route.name === 'chat' ? route.segments : []);
    settings.reopen();
    if (visit > 1) chat.focus();
    return;
  }
  const { page } = await PAGES[name]();
  if (visit !== visits) return; // Another page was asked for meanwhile.
  byId('bar-title').textContent = page.title;
  document.title = `${page.title} · Slipway`;
  const context = {
    session,
    picker,
    settings,
    readiness,
    route,
    use: (/** @type {any} */ body) => useDialog.open(body),
    signIn: () => signIn.open(),
  };
  leave = page.mount(root, context) ?? leave;
  if (visit > 1) byId('bar-title').focus();
}

const ACTIONS = {
  new: () => {
    location.hash = '#/chat';
    chat.newChat();
    chat.focus();
  },
  use: () => useDialog.open(chat.body()),
  account: () => signIn.open(),
  settings: () => settings.toggle(),
  skip: () => byId('main').focus(),
};

addEventListener('click', (event) => {
  if (!(event.target instanceof Element)) return;
  const { action, close } =
    /** @type {HTMLElement | null} */ (event.target.closest('[data-action], [data-close]'))?.dataset ?? {};
  if (action && action in ACTIONS) ACTIONS[/** @type {keyof typeof ACTIONS} */ (action)]();
  if (close) /** @type {HTMLDialogElement} */ (byId(close)).close();
});

session.addEventListener('change', () => {
  if (!session.hasCredentials) picker.forget();
});

async function start() {
  let problem = '';
  try {
    await finish();
  } catch (error) {
    problem = sentenceOf(error);
  }
  followAddress(go);
  readiness.look();
  chat.refreshModels();
  await session.look();
  // From now on, whenever somebody else is signed in, everything on the page is asked for anew.
  session.addEventListener('change', () => {
    chat.notice('');
    chat.refreshModels();
    if (document.body.dataset.page !== 'chat') dispatchEvent(new Event('hashchange'));
  });
  if (problem) signIn.open(problem, true);
  else chat.focus();
}

start();
