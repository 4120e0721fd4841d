/** The present settings as a program. The key is never written out: it comes from $SLIPWAY_API_KEY. */

import { address } from './api.js';

/** @param {string} text */
const shellQuote = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/**
 * @param {Record<string, unknown>} body
 * @returns {string}
 */
export function curlSnippet(body) {
  const json = JSON.stringify({ ...body, stream: true }, null, 2);
  return [
    `curl -N ${address('v1/chat/completions')} \\`,
    '  -H "Authorization: Bearer $SLIPWAY_API_KEY" \\',
    "  -H 'Content-Type: application/json' \\",
    `  -d ${shellQuote(json)}`,
  ].join('\n');
}

/**
 * For the package `openai`.
 * @param {Record<string, unknown>} body
 * @returns {string}
 */
export function pythonSnippet(body) {
  const options = Object.entries(body).map(([name, value]) => `    ${name}=${python(value, 4)},`);
  return [
    'import os',
    '',
    'from openai import OpenAI',
    '',
    `client = OpenAI(base_url=${JSON.stringify(address('v1'))}, api_key=os.environ["SLIPWAY_API_KEY"])`,
    'stream = client.chat.completions.create(',
    ...options,
    '    stream=True,',
    ')',
    'for chunk in stream:',
    '    if chunk.choices:',
    '        print(chunk.choices[0].delta.content or "", end="", flush=True)',
  ].join('\n');
}

/**
 * JSON's strings, numbers, lists and objects are Python's too.
 * @param {unknown} value
 * @param {number} indent
 */
function python(value, indent) {
  return JSON.stringify(value, null, 4).replaceAll('\n', `\n${' '.repeat(indent)}`);
}
