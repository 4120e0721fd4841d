/** Owners, for an admin: people and teams, what their keys share, and who signs in as them. */

import { button, field, nothing, section } from '../ui/blocks.js';
import { box } from '../ui/dialogs.js';
import { make } from '../ui/dom.js';
import { paged } from '../ui/paging.js';
import { table } from '../ui/tables.js';
import {
  fault,
  limitFields,
  limitsInWords,
  line,
  modelsInWords,
  names,
  priorityField,
  removeAsked,
  roleField,
  save,
  withRole,
} from './access-form.js';

const PAGE = 100;

/**
 * @typedef {{name: string, role: string, models: string[], limits: import('./access-form.js').Limits,
 *   priority: string, subjects: string[]}} Owner
 */

/** @type {import('../app.js').Page} */
export const page = {
  title: 'Owners',
  mount(root, { session }) {
    if (!session.isAdmin) {
      root.append(nothing('Owners are for admins. Sign in with an admin’s key to see them.'));
      return;
    }
    const list = make('div');

    /** @param {Owner[]} owners */
    const show = (owners) => {
      if (!owners.length)
        return [
          nothing(
            'There is no owner yet. A key may name any owner; one made here has limits that all its keys share.',
          ),
        ];
      return [
        table(
          'Owners',
          [
            {
              title: 'Name',
              cell: ({ name, role }) => withRole(name, role),
            },
            { title: 'Limits of all its keys together', cell: ({ limits }) => limitsInWords(limits) },
            { title: 'Who signs in', cell: ({ subjects }) => subjects?.join(', ') || 'Nobody' },
            { title: 'Models for people', cell: ({ models }) => modelsInWords(models) },
            { title: 'Actions', quiet: true, cell: actions },
          ],
          owners,
        ),
      ];
    };

    /** @param {Owner} owner */
    const actions = (owner) => {
      const change = button('Change', async () => {
        if (await ownerForm(owner)) await reload();
      });
      const remove = button('Delete', () => removeOwner(owner, reload), { danger: true });
      change.setAttribute('aria-label', `Change the owner ${owner.name}`);
      remove.setAttribute('aria-label', `Delete the owner ${owner.name}`);
      return make('div', { className: 'row tight' }, change, remove);
    };

    const create = async () => {
      if (await ownerForm(null)) await reload();
    };
    root.append(
      section(
        'Owners',
        {
          hint: 'People and teams. Usage is counted for them, and their limits hold for all of their keys together.',
          tools: [button('New owner', create, { icon: 'plus', primary: true })],
        },
        list,
      ),
    );
    const reload = paged(list, 'v1/owners', PAGE, show);
  },
};

/**
 * @param {Owner} owner
 * @param {() => Promise<void>} reload
 */
async function removeOwner({ name }, reload) {
  const text = 'Its limits no longer hold, and nobody signs in as it any more. Its keys stay.';
  const words = {
    title: `Delete ${name}?`,
    text,
    button: 'Delete',
    done: `The owner ${name} is deleted.`,
    failed: 'The owner was not deleted',
  };
  if (await removeAsked('v1/owners', name, words)) await reload();
}

/** @param {Owner | null} owner @returns {Promise<any>} */
function ownerForm(owner) {
  const name = line('owner-name', owner?.name, { maxLength: 253, disabled: Boolean(owner) });
  const models = line('owner-models', (owner?.models ?? ['*']).join(', '));
  const subjects = line('owner-subjects', owner?.subjects?.join(', '));
  const limits = limitFields(owner?.limits);
  const role = roleField(owner?.role ?? 'member');
  const priority = priorityField(owner?.priority ?? 'normal');
  const read = () => {
    const body = {
      ...(owner ? {} : { name: name.value.trim() }),
      role: role.querySelector('select')?.value,
      priority: priority.querySelector('select')?.value,
      models: names(models.value),
      subjects: names(subjects.value),
      limits: limits.read(),
    };
    return save('v1/owners', owner, body);
  };
  return box(
    owner ? `Change ${owner.name}` : 'New owner',
    [
      make(
        'div',
        { className: 'grid' },
        field('Name', name, 'A team, or a person’s e-mail address.'),
        field('Who signs in', subjects, 'Names from the sign-in provider, with commas between.'),
        field('Models for people', models, 'What they may call. Keys have a list of their own.'),
        role,
        priority,
      ),
      limits.element,
    ],
    read,
    { button: owner ? 'Save' : 'Make the owner', broad: true, fault },
  );
}
