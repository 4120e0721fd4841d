/** The navigation: beside the page where there is room, a drawer over it on a phone. */

import { nameOf } from '../session/session.js';
import { byId } from '../ui/dom.js';

const ROOM = matchMedia('(min-width: 900px)');

export class Sidebar {
  #element = byId('sidebar');
  #opener = byId('menu');
  #shade = byId('shade');
  #rest = byId('main');

  /** @param {import('../session/session.js').Session} session */
  constructor(session) {
    this.#opener.addEventListener('click', () => this.#set(true));
    this.#shade.addEventListener('click', () => this.#set(false));
    byId('menu-close').addEventListener('click', () => this.#set(false));
    this.#element.addEventListener('click', (event) => {
      if (event.target instanceof Element && event.target.closest('a, #new-chat')) this.#set(false);
    });
    addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.#open) this.#set(false);
    });
    ROOM.addEventListener('change', () => this.#set(false));
    session.addEventListener('change', () => this.#showWho(session));
    this.#showWho(session);
    this.#set(false);
  }

  /** Marks where the person is. @param {string} name of the page */
  mark(name) {
    for (const link of this.#element.querySelectorAll('nav a')) {
      if (link.getAttribute('href') === `#/${name}`) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
  }

  get #open() {
    return this.#element.classList.contains('open');
  }

  /** @param {boolean} open only where it is a drawer */
  #set(open) {
    const wasOpen = this.#open;
    this.#element.classList.toggle('open', open);
    this.#element.inert = !open && !ROOM.matches;
    this.#rest.inert = open;
    this.#shade.hidden = !open;
    this.#opener.setAttribute('aria-expanded', String(open));
    if (open) byId('menu-close').focus();
    else if (wasOpen) this.#opener.focus();
  }

  /** @param {import('../session/session.js').Session} session */
  #showWho({ me, hasCredentials, refused, isAdmin }) {
    byId('account-name').textContent = me ? nameOf(me) : hasCredentials && !refused ? 'Signed in' : 'Sign in';
    byId('account-owner').textContent = me ? `${me.owner}${isAdmin ? ' · admin' : ''}` : '';
    for (const item of this.#element.querySelectorAll('[data-admin]'))
      /** @type {HTMLElement} */ (item).hidden = !isAdmin;
  }
}
