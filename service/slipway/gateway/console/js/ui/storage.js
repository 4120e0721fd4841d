/** Browser storage that may be full, forbidden or filled by an older version: none of that stops the console. */

/**
 * @param {Storage} storage
 * @param {string} name
 * @returns {any} what was stored, or null
 */
export function recall(storage, name) {
  try {
    return JSON.parse(storage.getItem(`slipway.${name}`) ?? 'null');
  } catch {
    return null;
  }
}

/**
 * @param {Storage} storage
 * @param {string} name
 * @param {unknown} value null removes it
 */
export function remember(storage, name, value) {
  try {
    if (value === null) storage.removeItem(`slipway.${name}`);
    else storage.setItem(`slipway.${name}`, JSON.stringify(value));
  } catch {
    // Full or forbidden: the console goes on without a memory.
  }
}
