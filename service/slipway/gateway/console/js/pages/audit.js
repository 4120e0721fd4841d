/** The audit log, for an admin: who changed which key or owner, and when. */

import { nothing, section, when } from '../ui/blocks.js';
import { make } from '../ui/dom.js';
import { paged } from '../ui/paging.js';
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
    /** @param {any[]} rows */
    const show = (rows) => {
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
      ];
    };
    root.append(section('Audit log', { hint: 'Who changed what. Secrets are never in it.' }, list));
    paged(list, 'v1/audit', PAGE, show);
  },
};

/** @param {unknown} details */
const detailsOf = (details) =>
  make('code', { className: 'wrap' }, typeof details === 'string' ? details : JSON.stringify(details));
