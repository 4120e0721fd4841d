/** The sampling parameters: what each may be, and how it goes into a request. */

/**
 * @typedef {object} Parameter
 * @property {string} name in the API
 * @property {string} label
 * @property {string} help
 * @property {number} [min]
 * @property {number} [max]
 * @property {number} [step] a slider is shown where min, max and step are given
 * @property {number} [neutral] where the slider stands while nothing is set
 * @property {boolean} [whole] whole numbers only
 * @property {boolean} [lines] text, one value a line
 * @property {boolean} [rare] shown under "More"
 */

/** @type {Parameter[]} */
export const PARAMETERS = [
  {
    name: 'temperature',
    label: 'Temperature',
    help: '0 always takes the likeliest token; higher is more varied.',
    min: 0,
    max: 2,
    step: 0.05,
    neutral: 1,
  },
  {
    name: 'top_p',
    label: 'Top p',
    help: 'Chooses only among the likeliest tokens that together have this probability.',
    min: 0.01,
    max: 1,
    step: 0.01,
    neutral: 1,
  },
  {
    name: 'max_tokens',
    label: 'Max tokens',
    help: 'The answer is cut after this many.',
    min: 1,
    whole: true,
  },
  {
    name: 'seed',
    label: 'Seed',
    help: 'The same seed and settings give the same answer, as far as the engine can.',
    whole: true,
  },
  {
    name: 'stop',
    label: 'Stop sequences',
    help: String.raw`One a line, four at most; \n stands for a new line.`,
    lines: true,
    max: 4,
  },
  {
    name: 'frequency_penalty',
    label: 'Frequency penalty',
    help: 'Above 0, tokens that came often become less likely.',
    min: -2,
    max: 2,
    step: 0.1,
    neutral: 0,
    rare: true,
  },
  {
    name: 'presence_penalty',
    label: 'Presence penalty',
    help: 'Above 0, tokens that came at all become less likely.',
    min: -2,
    max: 2,
    step: 0.1,
    neutral: 0,
    rare: true,
  },
];

/**
 * Reads what was typed for a parameter.
 * @param {Parameter} parameter
 * @param {string} text
 * @returns {{value: number | string[] | null, problem: string}} null: not set, the model's default holds
 */
export function readParameter(parameter, text) {
  const { label, min = -Infinity, max = Infinity } = parameter;
  if (parameter.lines) {
    const lines = text.split('\n').filter(Boolean);
    const value = lines.map((line) => line.replaceAll('\\n', '\n'));
    return lines.length > max
      ? { value: null, problem: `${label}: at most ${max}.` }
      : { value: value.length ? value : null, problem: '' };
  }
  if (!text.trim()) return { value: null, problem: '' };
  const value = Number(text);
  if (Number.isNaN(value)) return { value: null, problem: `${label} is a number.` };
  if (parameter.whole && !Number.isSafeInteger(value))
    return { value: null, problem: `${label} is a whole number.` };
  if (value < min || value > max) {
    const range = max === Infinity ? `${min} or more` : `between ${min} and ${max}`;
    return { value: null, problem: `${label} is ${range}.` };
  }
  return { value, problem: '' };
}
