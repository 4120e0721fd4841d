/** Sign-in by OpenID Connect: authorization code with PKCE (RFC 7636), as a public client. */

import { ApiError, callJson } from '../api/request.js';
import { recall, remember } from '../ui/storage.js';
import { currentSignIn, keepSignIn, renewBy } from './credentials.js';

const PENDING = 'sign-in-pending';

/**
 * What `GET /v1/sign-in` says.
 * @typedef {{issuer: string, authorization_endpoint: string, token_endpoint: string, client_id: string,
 *   scopes?: string[] | string, scope?: string, audience?: string | null}} Provider
 */

/** The provider of this gateway, or null where only keys are taken. @returns {Promise<Provider | null>} */
export async function provider() {
  try {
    const { oidc } = await callJson('v1/sign-in', { open: true });
    return oidc ?? null;
  } catch {
    return null; // A gateway that does not know the route takes keys.
  }
}

/** Where the provider sends the person back to: the console, without what stands behind the #. */
const here = () => new URL('.', document.baseURI).href;

/** @param {Uint8Array} bytes */
const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/**
 * Leaves for the provider's page.
 * @param {Provider} oidc
 * @throws {ApiError} where the browser offers no cryptography, as on plain HTTP
 */
export async function begin(oidc) {
  if (!crypto.subtle)
    throw new ApiError('The browser allows signing in on HTTPS and on localhost only. Use a key here.');
  const pending = { state: random(), nonce: random(), verifier: random(), oidc, route: location.hash };
  const challenge = new Uint8Array(
    await crypto.subtle.digest('SHA-256', new TextEncoder().encode(pending.verifier)),
  );
  remember(sessionStorage, PENDING, pending);
  const scopes = oidc.scopes ?? oidc.scope ?? 'openid';
  const url = new URL(oidc.authorization_endpoint);
  for (const [name, value] of Object.entries({
    response_type: 'code',
    client_id: oidc.client_id,
    redirect_uri: here(),
    scope: Array.isArray(scopes) ? scopes.join(' ') : scopes,
    state: pending.state,
    nonce: pending.nonce,
    code_challenge: base64url(challenge),
    code_challenge_method: 'S256',
  }))
    url.searchParams.set(name, value);
  location.assign(url);
}

/**
 * Takes what the provider sent back out of the address, and changes the code for a token.
 * @returns {Promise<boolean>} whether somebody is signed in by it now
 * @throws {ApiError} when it did not work, as a sentence
 */
export async function finish() {
  const back = new URLSearchParams(location.search);
  if (!back.has('state') || !(back.has('code') || back.has('error'))) return false;
  const pending = recall(sessionStorage, PENDING);
  remember(sessionStorage, PENDING, null);
  history.replaceState(null, '', location.pathname + (pending?.route ?? ''));
  if (!pending || back.get('state') !== pending.state)
    throw new ApiError('This sign-in was not begun in this tab. Sign in again.');
  const refused = back.get('error');
  if (refused) {
    const why = back.get('error_description') ?? refused.replaceAll('_', ' ');
    throw new ApiError(`The sign-in was refused: ${why}`);
  }
  const answer = await ask(pending.oidc.token_endpoint, {
    grant_type: 'authorization_code',
    code: back.get('code') ?? '',
    redirect_uri: here(),
    client_id: pending.oidc.client_id,
    code_verifier: pending.verifier,
  });
  const claims = claimsOf(answer.id_token);
  if (claims.nonce !== pending.nonce)
    throw new ApiError('The provider answered another sign-in than this one. Sign in again.');
  keep(answer, claims, pending.oidc.token_endpoint, pending.oidc.client_id);
  return true;
}

renewBy(async ({ endpoint, client, refresh }) => {
  try {
    const answer = await ask(endpoint, {
      grant_type: 'refresh_token',
      refresh_token: refresh ?? '',
      client_id: client,
    });
    keep({ refresh_token: refresh, ...answer }, claimsOf(answer.id_token), endpoint, client);
    return currentSignIn();
  } catch {
    return null; // The old token is tried, and the gateway's 401 asks for a new sign-in.
  }
});

/**
 * @param {any} answer
 * @param {any} claims of its ID token, which is what the gateway takes
 * @param {string} endpoint
 * @param {string} client
 */
function keep(answer, claims, endpoint, client) {
  const expires = Number(claims.exp) * 1000 || Date.now() + (Number(answer.expires_in) || 300) * 1000;
  keepSignIn({ token: answer.id_token, expires, refresh: answer.refresh_token ?? null, endpoint, client });
}

/**
 * @param {string} endpoint
 * @param {Record<string, string>} form
 */
async function ask(endpoint, form) {
  let response;
  try {
    response = await fetch(endpoint, {
      method: 'POST',
      body: new URLSearchParams(form),
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
    });
  } catch {
    throw new ApiError('The sign-in provider cannot be reached from this page.');
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok || typeof answer.id_token !== 'string') {
    const why = answer.error_description ?? answer.error ?? `it answered ${response.status}`;
    throw new ApiError(`The sign-in provider gave no token: ${String(why).replaceAll('_', ' ')}.`);
  }
  return answer;
}

/**
 * The claims of a token, read and not trusted: the gateway checks its signature.
 * @param {string} token
 */
function claimsOf(token) {
  try {
    const part = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (one) => one.charCodeAt(0))));
  } catch {
    throw new ApiError('The sign-in provider sent a token that cannot be read.');
  }
}
