/** Who is signed in. */

import { ApiError, callJson } from '../api/request.js';
import { currentKey, currentSignIn, keepKey, keepSignIn } from './credentials.js';

/**
 * What `GET /v1/me` says.
 * @typedef {{kind: 'key' | 'oidc', name: string, owner: string, role: 'admin' | 'member', models: string[],
 *   priority?: string, expiresAt?: string | null}} Me
 */

/** A key's name, or a person's without the sign that it is one. @param {Me} me */
export const nameOf = ({ name }) => name.replace(/^oidc:/, '');

/** Fires `change` when somebody else is signed in, or more is known of who it is. */
export class Session extends EventTarget {
  /** @type {Me | null} */
  me = null;
  /** The gateway did not accept what there is. */
  refused = false;

  get isAdmin() {
    return this.me?.role === 'admin';
  }

  /** Whether a key or a token is at hand. */
  get hasCredentials() {
    return Boolean(currentKey() || currentSignIn());
  }

  /** Asks the gateway who the key or the token belongs to. A gateway that does not know the route stays silent. */
  async look() {
    this.refused = false;
    try {
      this.me = this.hasCredentials ? await callJson('v1/me') : null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 0) this.me = null;
      this.refused = error.status === 401;
    }
    this.dispatchEvent(new Event('change'));
  }

  /**
   * @param {string} key '' signs out
   * @param {boolean} always keep it after this tab is closed
   */
  useKey(key, always) {
    keepKey(key, always);
    this.me = null;
    return this.look();
  }

  signOut() {
    keepSignIn(null);
    this.me = null;
    this.dispatchEvent(new Event('change'));
  }
}
