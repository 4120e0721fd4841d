/** Colours for code, by highlight.js; its library is loaded when the first code appears. */

import createDOMPurify from '../../vendor/dompurify.js';

const LONGEST = 60_000;
/** highlight.js writes spans with classes and nothing else. */
const SPANS = { RETURN_DOM_FRAGMENT: true, ALLOWED_TAGS: ['span'], ALLOWED_ATTR: ['class'] };
/** Names that models write and the library does not know. @type {Record<string, string>} */
const ALIASES = { dockerfile: 'bash', console: 'shell', jsonc: 'json', vue: 'xml', curl: 'bash' };

/** @type {Promise<any> | null} */
let library = null;

/**
 * @param {string} code
 * @param {string} language as written after the fence
 * @returns {Promise<DocumentFragment | null>} null where the language is not known or the code is very long
 */
export async function highlight(code, language) {
  const name = ALIASES[language.toLowerCase()] ?? language;
  if (!name || code.length > LONGEST) return null;
  library ??= import('../../vendor/highlight.js').then((module) => module.default);
  const hljs = await library;
  if (!hljs.getLanguage(name)) return null;
  const { value } = hljs.highlight(code, { language: name, ignoreIllegals: true });
  return /** @type {any} */ (createDOMPurify).sanitize(value, SPANS);
}
