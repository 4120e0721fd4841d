/** Help: the first steps, what the figures mean, and where to read on. */

import { address } from '../api/request.js';
import { codeBlock } from '../markdown/code.js';
import { button, section } from '../ui/blocks.js';
import { make } from '../ui/dom.js';

/** @type {[string, string][]} */
const QUESTIONS = [
  [
    'Where does a key come from?',
    'Whoever runs this gateway makes one, on the page Keys or with “slipway key create NAME”. It is shown once. The console keeps it for this tab, or in this browser if you ask for it.',
  ],
  [
    'Where are my conversations?',
    'In this browser, and nowhere else: what you write goes to the model, and is not kept by the gateway. Export them as a file to take them to another browser. A comment on an answer takes the conversation along only where you tick that box.',
  ],
  [
    'What are queue, prefill and decode?',
    'The three parts of the time that an answer takes. Queue: waiting in the gateway until an engine has room. Prefill: the engine reads the prompt, until the first token. Decode: the rest of the answer, token by token. A long queue wants more replicas; a long prefill a shorter prompt; a slow decode a smaller model or a faster device.',
  ],
  [
    'What does “Try again in 12 seconds” mean?',
    'A limit of your key, or of its owner, is used up. It says when this very request would be let through. The page Usage shows every limit and what is left of it.',
  ],
  [
    'What do I do about a wrong answer?',
    'Press the thumb down and say what was wrong. It is kept with the request’s id, so that whoever runs the model can find it.',
  ],
  [
    'Something failed. What do I report?',
    'The request’s id, under the answer. With it, the operator finds the request in logs and traces, and “slipway explain ID” tells what became of it.',
  ],
];

/** @type {[string, string][]} */
const KEYS = [
  ['Enter', 'send the message'],
  ['Shift + Enter', 'start a new line'],
  ['Esc', 'stop the answer; close what is open'],
  ['Tab', 'go to the next control; everything can be reached by it'],
  ['← →', 'move between tabs'],
];

/** @type {import('../app.js').Page} */
export const page = {
  title: 'Help',
  mount(root, { picker, use }) {
    const model = picker.chosen || 'MODEL';
    const first = codeBlock('bash');
    first.show(
      [
        'pip install openai',
        'export SLIPWAY_API_KEY=…',
        `export OPENAI_BASE_URL=${address('v1')} OPENAI_API_KEY="$SLIPWAY_API_KEY"`,
        `openai api chat.completions.create -m ${model} -g user 'What is gravity?'`,
      ].join('\n'),
    );
    first.finish();
    const show = () => use({ model, messages: [{ role: 'user', content: 'What is gravity?' }] });
    root.append(
      section(
        'First steps',
        { hint: 'Any OpenAI or Anthropic client works with this gateway: give it the address and a key.' },
        first.element,
        make(
          'div',
          { className: 'row' },
          button('curl, Python, JavaScript', show, { icon: 'code' }),
          make(
            'a',
            {
              className: 'plain',
              href: address('openapi.json'),
              target: '_blank',
              rel: 'noopener noreferrer',
            },
            'API reference (OpenAPI)',
          ),
        ),
      ),
      section(
        'Questions',
        {},
        ...QUESTIONS.map(([question, answer]) =>
          make('details', { className: 'question' }, make('summary', {}, question), make('p', {}, answer)),
        ),
      ),
      section(
        'Keyboard',
        {},
        make(
          'dl',
          { className: 'facts' },
          ...KEYS.flatMap(([key, what]) => [make('dt', {}, make('kbd', {}, key)), make('dd', {}, what)]),
        ),
      ),
    );
  },
};
