/** The audit log, for an admin: who changed which key or owner, and when. */

import { callJson } from '../api/request.js';
import { button, fill, nothing, section, when } from '../ui/blocks.js';
import { make } from '../ui/dom.js';
import { table } from '../ui/tables.js';

const PAGE = 50;

/** @type {import('../app.js').Page} */
export const page = {
  title: 'Audit log',
  mount(root, { session }) {
    if (!session.isAdmin) {
      root.append(nothing('The audit log is for admins. Sign in with an admin’s key to see it.'));
      return;
    }
    const list = make('div');
    /** @type {any[]} */
    let rows = [];
    const load = async (/** @type {string | undefined} */ after) => {
      const { data, has_more: more } = await callJson('v1/audit', { query: { limit: PAGE, after } });
      rows = [...rows, ...data];
      return more;
    };
    /** @param {boolean} more */
    const show = (more) => {
      if (!rows.length) return [nothing('Nothing was changed yet.')];
      return [
        table(
          'Changes, newest first',
          [
            { title: 'When', cell: ({ at }) => when(at) },
            {
              title: 'Who',
              cell: ({ actor, actor_owner: owner }) =>
                owner ? `${actor.replace(/^oidc:/, '')} (${owner})` : actor || 'Somebody unknown',
            },
            { title: 'What', cell: ({ action }) => action },
            { title: 'On', cell: ({ target }) => target },
            { title: 'Details', cell: ({ details }) => (details ? detailsOf(details) : null) },
          ],
          rows,
        ),
        more ? button('More', () => fill(list, () => load(rows.at(-1).id), show)) : null,
      ];
    };
    root.append(section('Audit log', { hint: 'Who changed what. Secrets are never in it.' }, list));
    fill(list, () => load(undefined), show);
  },
};

/** @param {unknown} details */
const detailsOf = (details) =>
  make('code', { className: 'wrap' }, typeof details === 'string' ? details : JSON.stringify(details));
