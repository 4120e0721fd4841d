/** Feedback: what was said about answers. An admin sees everyone's, a member that of its owner. */

import { callJson } from '../api/request.js';
import { badge, button, fill, nothing, section, select, when } from '../ui/blocks.js';
import { make } from '../ui/dom.js';
import { table } from '../ui/tables.js';

const PAGE = 50;

/** @type {import('../app.js').Page} */
export const page = {
  title: 'Feedback',
  mount(root, { session }) {
    const list = make('div');
    /** @type {any[]} */
    let rows = [];
    let rating = '';

    const load = async (/** @type {string | undefined} */ after) => {
      const query = { limit: PAGE, rating, after };
      const { data, has_more: more } = await callJson('v1/feedback', { query });
      rows = after ? [...rows, ...data] : data;
      return more;
    };
    /** @param {boolean} more */
    const show = (more) => {
      if (!rows.length)
        return [nothing('There is no feedback yet. The thumbs under an answer of the chat give some.')];
      return [
        table(
          'Feedback',
          [
            { title: 'When', cell: (row) => when(row.created_at) },
            {
              title: 'Rating',
              cell: (row) => (row.rating === 'up' ? badge('good', 'Good') : badge('bad', 'Bad')),
            },
            { title: 'Model', cell: ({ model }) => model },
            { title: 'Comment', cell: commentOf },
            { title: 'Owner', cell: ({ owner, key }) => `${owner} · ${key}` },
            { title: 'Request', cell: ({ request_id: id }) => make('code', {}, id) },
          ],
          rows,
        ),
        more ? button('More', () => fill(list, () => load(rows.at(-1).id), show)) : null,
      ];
    };
    const chooser = select(
      'feedback-rating',
      [
        ['', 'Good and bad'],
        ['up', 'Good only'],
        ['down', 'Bad only'],
      ],
      '',
      (value) => {
        rating = value;
        fill(list, () => load(undefined), show);
      },
    );
    chooser.setAttribute('aria-label', 'Which feedback');
    const hint = session.isAdmin ? 'Of everyone.' : 'Of you and your owner’s other keys.';
    root.append(section('Feedback', { hint, tools: [chooser] }, list));
    fill(list, () => load(undefined), show);
  },
};

/** @param {any} row */
function commentOf({ comment, expected, messages }) {
  if (!comment && !expected && !messages) return null;
  const said = messages?.map((/** @type {any} */ { role, content }) => `${role}: ${content}`).join('\n\n');
  return make(
    'div',
    { className: 'comment' },
    comment ? make('p', {}, comment) : null,
    expected ? make('p', { className: 'hint' }, `Expected: ${expected}`) : null,
    said
      ? make(
          'details',
          {},
          make('summary', {}, 'The conversation'),
          make('pre', { tabIndex: 0, role: 'group', 'aria-label': 'The conversation' }, said),
        )
      : null,
  );
}
