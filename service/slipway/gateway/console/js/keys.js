/** The API key: kept for this tab, or in this browser when the person asks for it. */

import { recall, remember } from './storage.js';

const NAME = 'key';

/** @returns {string} the key, or '' */
export function currentKey() {
  return recall(sessionStorage, NAME) ?? recall(localStorage, NAME) ?? '';
}

/** Whether the key outlives this tab. */
export function isRemembered() {
  return recall(localStorage, NAME) !== null;
}

/**
 * @param {string} key '' forgets it
 * @param {boolean} always keep it after this tab is closed
 */
export function keepKey(key, always) {
  remember(sessionStorage, NAME, key && !always ? key : null);
  remember(localStorage, NAME, key && always ? key : null);
}

/**
 * Takes a key out of the address (`/#key=…`), for this tab only. A fragment is never sent to a server;
 * it leaves the address bar and the history at once.
 * @returns {boolean} whether there was one
 */
export function takeKeyFromAddress() {
  const key = new URLSearchParams(location.hash.slice(1)).get('key');
  if (!key) return false;
  history.replaceState(null, '', location.pathname + location.search);
  keepKey(key, false);
  return true;
}
