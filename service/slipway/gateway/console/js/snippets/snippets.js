/** A request as a program. The key is never written out: it comes from $SLIPWAY_API_KEY. */

import { address } from '../api/request.js';

/** @typedef {Record<string, unknown>} Body */

/** @param {string} text */
const shellQuote = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** @param {Body} body */
export function curlSnippet(body) {
  const json = JSON.stringify({ ...body, stream: true }, null, 2);
  return [
    `curl -N ${shellQuote(address('v1/chat/completions'))} \\`,
    '  -H "Authorization: Bearer $SLIPWAY_API_KEY" \\',
    "  -H 'Content-Type: application/json' \\",
    `  -d ${shellQuote(json)}`,
  ].join('\n');
}

/** For the package `openai`. @param {Body} body */
export function pythonSnippet(body) {
  const options = Object.entries(body).map(([name, value]) => `    ${name}=${python(value, 4)},`);
  return [
    'import os',
    '',
    'from openai import OpenAI',
    '',
    `client = OpenAI(base_url=${python(address('v1'), 0)}, api_key=os.environ["SLIPWAY_API_KEY"])`,
    'stream = client.chat.completions.create(',
    ...options,
    '    stream=True,',
    ')',
    'for chunk in stream:',
    '    if chunk.choices:',
    '        print(chunk.choices[0].delta.content or "", end="", flush=True)',
  ].join('\n');
}

/** For the package `openai`. @param {Body} body */
export function javaScriptSnippet(body) {
  const json = JSON.stringify({ ...body, stream: true }, null, 2);
  return [
    "import OpenAI from 'openai';",
    '',
    `const client = new OpenAI({ baseURL: ${JSON.stringify(address('v1'))}, apiKey: process.env.SLIPWAY_API_KEY });`,
    `const stream = await client.chat.completions.create(${json});`,
    'for await (const chunk of stream) {',
    "  process.stdout.write(chunk.choices[0]?.delta?.content ?? '');",
    '}',
  ].join('\n');
}

/** For tools that read their settings from the environment, coding agents among them. @param {Body} body */
export function environmentSnippet(body) {
  return [
    '# Tools that speak OpenAI’s API',
    `export OPENAI_BASE_URL=${shellQuote(address('v1'))}`,
    'export OPENAI_API_KEY="$SLIPWAY_API_KEY"',
    '',
    '# Tools that speak Anthropic’s API, such as coding agents',
    `export ANTHROPIC_BASE_URL=${shellQuote(address('.').replace(/\/$/, ''))}`,
    'export ANTHROPIC_AUTH_TOKEN="$SLIPWAY_API_KEY"',
    `export ANTHROPIC_MODEL=${shellQuote(String(body.model ?? ''))}`,
  ].join('\n');
}

/**
 * A value as Python writes it. JSON's strings are Python's too.
 * @param {unknown} value
 * @param {number} indent of the line that it stands in
 * @returns {string}
 */
export function python(value, indent) {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value !== 'object') return JSON.stringify(value);
  const inner = ' '.repeat(indent + 4);
  const [open, close, items] = Array.isArray(value)
    ? ['[', ']', value.map((each) => python(each, indent + 4))]
    : [
        '{',
        '}',
        Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${python(each, indent + 4)}`),
      ];
  if (!items.length) return open + close;
  return `${open}\n${items.map((item) => `${inner}${item},\n`).join('')}${' '.repeat(indent)}${close}`;
}
