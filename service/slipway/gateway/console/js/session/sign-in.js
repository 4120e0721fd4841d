/** The box to sign in by, and to see who is signed in. Says why it opened when the gateway refused. */

import { access, sentenceOf } from '../api/request.js';
import { announce, byId, make } from '../ui/dom.js';
import { currentKey, currentSignIn, isRemembered } from './credentials.js';
import { begin, provider } from './oidc.js';
import { nameOf } from './session.js';

const NO_KEY = 'This gateway asks for a key. Whoever runs it can give you one.';
const WRONG_KEY =
  'This key was not accepted: it may be cut short, expired, disabled, or belong to another gateway. ' +
  'Check that it was copied whole, or ask whoever runs this gateway for another.';
const SIGNED_OUT = 'Your sign-in has ended. Sign in again.';

export class SignInDialog {
  #dialog = /** @type {HTMLDialogElement} */ (byId('sign-in-dialog'));
  #input = /** @type {HTMLInputElement} */ (byId('key'));
  #always = /** @type {HTMLInputElement} */ (byId('key-remember'));
  #problem = byId('sign-in-problem');
  #session;

  /** @param {import('./session.js').Session} session */
  constructor(session) {
    this.#session = session;
    byId('key-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#use(this.#input.value.trim());
    });
    byId('sign-out').addEventListener('click', () => this.#signOut());
    this.#always.addEventListener('change', () => this.#explain());
    byId('key-show').addEventListener('click', () => this.#reveal(this.#input.type === 'password'));
    access.addEventListener('refused', (event) => this.#refused(/** @type {CustomEvent} */ (event).detail));
    session.addEventListener('change', () => this.#showWho());
    this.#offerProvider();
  }

  /**
   * @param {string} [problem] why it opens
   * @param {boolean} [wrong] whether what is there is the problem
   */
  open(problem = '', wrong = false) {
    this.#input.value = currentKey();
    this.#always.checked = isRemembered();
    this.#problem.textContent = problem;
    this.#problem.hidden = !problem;
    this.#problem.classList.toggle('mild', !wrong);
    this.#input.setAttribute('aria-invalid', String(wrong && Boolean(currentKey())));
    byId('sign-out').hidden = !this.#session.hasCredentials;
    this.#reveal(false);
    this.#explain();
    this.#showWho();
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#input.focus();
    this.#input.select();
  }

  /** @param {import('../api/request.js').ApiError} error */
  #refused(error) {
    if (this.#dialog.open) return; // What is being typed, or said already, must not go.
    if (error.code === 'unknown_person') this.open(error.message, true);
    else if (currentSignIn()) this.open(SIGNED_OUT, true);
    else if (currentKey()) this.open(WRONG_KEY, true);
    else this.open(NO_KEY);
  }

  /** @param {string} key */
  #use(key) {
    this.#dialog.close();
    announce(key ? 'The key is set.' : 'The key is forgotten.');
    this.#session.useKey(key, this.#always.checked);
  }

  #signOut() {
    this.#dialog.close();
    announce('You are signed out.');
    this.#session.signOut();
  }

  /** @param {boolean} visible */
  #reveal(visible) {
    this.#input.type = visible ? 'text' : 'password';
    byId('key-show').setAttribute('aria-pressed', String(visible));
  }

  #explain() {
    const fate = this.#always.checked
      ? 'kept in this browser until you sign out'
      : 'forgotten when the tab is closed';
    byId('key-hint').textContent = `It is sent to this gateway only, and ${fate}.`;
  }

  #showWho() {
    const { me } = this.#session;
    const who = byId('who');
    who.hidden = !me;
    if (!me) return;
    const rows = [
      ['Owner', me.owner],
      [me.kind === 'oidc' ? 'Person' : 'Key', nameOf(me)],
      ['Role', me.role === 'admin' ? 'Admin: sees and changes everything' : 'Member'],
      ['Models', me.models?.includes('*') ? 'All' : (me.models ?? []).join(', ') || 'None'],
      ['Ends', me.expiresAt ? new Date(me.expiresAt).toLocaleString() : null],
    ];
    who.replaceChildren(
      ...rows
        .filter(([, value]) => value)
        .flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]),
    );
  }

  async #offerProvider() {
    const oidc = await provider();
    if (!oidc) return;
    const button = byId('oidc-begin');
    byId('oidc').hidden = false;
    button.append(` with ${new URL(oidc.issuer).host}`);
    button.addEventListener('click', async () => {
      try {
        await begin(oidc);
      } catch (error) {
        this.open(sentenceOf(error), true);
      }
    });
  }
}
