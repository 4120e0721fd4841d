/** Calls of this gateway, and what goes wrong with them as sentences for a person. */

import { authorization } from '../session/credentials.js';

/** What went wrong, in words for a person, with what the gateway said about it. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, type?: string | null, code?: string | null, param?: string | null,
   *          requestId?: string | null, retryAfter?: number | null}} [details] retryAfter in seconds
   */
  constructor(message, details = {}) {
    super(message);
    this.name = 'ApiError';
    this.status = details.status ?? 0;
    this.type = details.type ?? null;
    this.code = details.code ?? null;
    this.param = details.param ?? null;
    this.requestId = details.requestId ?? null;
    this.retryAfter = details.retryAfter ?? null;
  }
}

/** Fires `refused` (detail: the error) whenever the gateway answers 401: nobody is signed in, or no longer. */
export const access = new EventTarget();

/** The address of a path of this gateway. @param {string} path */
export const address = (path) => new URL(path, document.baseURI).href;

/**
 * One call, with who is signed in.
 * @param {string} path relative, `v1/…`
 * @param {{method?: string, body?: unknown, form?: FormData, query?: Record<string, string | number | undefined>,
 *          signal?: AbortSignal, open?: boolean}} [options] body: sent as JSON; open: a route that asks for no key
 * @returns {Promise<Response>} one that is ok
 * @throws {ApiError}
 */
export async function call(path, { method, body, form, query, signal, open = false } = {}) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query ?? {}))
    if (value !== undefined && value !== '') url.searchParams.set(name, String(value));
  const headers = new Headers(open ? {} : await authorization());
  if (body !== undefined) headers.set('content-type', 'application/json');
  let response;
  try {
    response = await fetch(url, {
      method: method ?? (body === undefined && !form ? 'GET' : 'POST'),
      headers,
      body: form ?? (body === undefined ? undefined : JSON.stringify(body)),
      signal,
      credentials: 'omit',
      cache: 'no-store',
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError('The gateway cannot be reached. Is it still running?', { code: 'unreachable' });
  }
  if (response.ok) return response;
  const error = await errorOf(response);
  if (error.status === 401 && !open) access.dispatchEvent(new CustomEvent('refused', { detail: error }));
  throw error;
}

/**
 * The same, the answer read as JSON.
 * @param {string} path
 * @param {Parameters<typeof call>[1]} [options]
 * @returns {Promise<any>}
 */
export async function callJson(path, options) {
  const response = await call(path, options);
  try {
    return response.status === 204 ? null : await response.json();
  } catch (error) {
    if (options?.signal?.aborted) throw error;
    throw new ApiError('The gateway sent an answer that is not JSON.', { status: response.status });
  }
}

/** @param {Response} response */
async function errorOf(response) {
  const requestId = response.headers.get('x-request-id');
  const retryAfter = Number(response.headers.get('retry-after')) || null;
  const body = await response.json().catch(() => null);
  return fromEnvelope(body?.error, { status: response.status, requestId, retryAfter });
}

/**
 * @param {any} error the inside of OpenAI's envelope, if there was one
 * @param {{status?: number, requestId: string | null, retryAfter?: number | null}} details
 */
export function fromEnvelope(error, details) {
  const message =
    error?.message || `The gateway answered ${details.status ?? 'with an error'} and did not say why.`;
  const code = error?.code === undefined || error?.code === null ? null : String(error.code);
  return new ApiError(message, { ...details, type: error?.type, code, param: error?.param });
}

/**
 * An error as a sentence, with when to try again where the gateway says so.
 * @param {unknown} error
 */
export function sentenceOf(error) {
  if (!(error instanceof ApiError)) {
    console.error(error);
    return 'The console made a mistake. Reload the page; if it stays, tell whoever runs this gateway.';
  }
  if (error.status === 401) return 'Sign in to see this.';
  const { retryAfter } = error;
  return retryAfter
    ? `${error.message} Try again in ${retryAfter} ${retryAfter === 1 ? 'second' : 'seconds'}.`
    : error.message;
}
