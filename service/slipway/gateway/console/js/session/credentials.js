/** What is shown to the gateway: an API key, or the token of a sign-in. */

import { recall, remember } from '../ui/storage.js';

const KEY = 'key';
const SIGN_IN = 'sign-in';
/** A token that ends within this is renewed before it is used. */
const RENEW_MS = 60_000;

/**
 * What a sign-in left, kept for this tab only.
 * @typedef {{token: string, expires: number, refresh: string | null, endpoint: string, client: string}} SignIn
 *   expires: milliseconds since 1970
 */

/** @type {(signedIn: SignIn) => Promise<SignIn | null>} */
let renew = async () => null;
/** @type {Promise<SignIn | null> | null} */
let renewing = null;

/** How a token is renewed; given by the sign-in, so that a page without one never loads it. @param {typeof renew} way */
export function renewBy(way) {
  renew = way;
}

/** @returns {string} the key, or '' */
export function currentKey() {
  return recall(sessionStorage, KEY) ?? recall(localStorage, KEY) ?? '';
}

/** Whether the key outlives this tab. */
export function isRemembered() {
  return recall(localStorage, KEY) !== null;
}

/** @returns {SignIn | null} */
export function currentSignIn() {
  const kept = recall(sessionStorage, SIGN_IN);
  return typeof kept?.token === 'string' && typeof kept.expires === 'number' ? kept : null;
}

/**
 * @param {string} key '' forgets it
 * @param {boolean} always keep it after this tab is closed
 */
export function keepKey(key, always) {
  remember(sessionStorage, KEY, key && !always ? key : null);
  remember(localStorage, KEY, key && always ? key : null);
  remember(sessionStorage, SIGN_IN, null);
}

/** @param {SignIn | null} signedIn */
export function keepSignIn(signedIn) {
  remember(sessionStorage, KEY, null);
  remember(localStorage, KEY, null);
  remember(sessionStorage, SIGN_IN, signedIn);
}

/** The header that says who calls; a token about to end is renewed first. @returns {Promise<Record<string, string>>} */
export async function authorization() {
  let signedIn = currentSignIn();
  if (signedIn && signedIn.refresh && signedIn.expires - Date.now() < RENEW_MS) {
    renewing ??= renew(signedIn).finally(() => {
      renewing = null;
    });
    const renewed = await renewing;
    if (renewed) signedIn = renewed;
  }
  const token = signedIn?.token || currentKey();
  return token ? { authorization: `Bearer ${token}` } : {};
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
