/** Keys: make, change, rotate, revoke. An admin sees everyone's, a member those of its owner. */

import { callJson } from '../api/request.js';
import { badge, button, facts, field, nothing, section, when } from '../ui/blocks.js';
import { copyButton } from '../ui/clipboard.js';
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
  WrongInput,
} from './access-form.js';

/**
 * A key as the API shows it, without its secret.
 * @typedef {{name: string, owner: string, role: string, models: string[], limits: import('./access-form.js').Limits,
 *   priority: string, expiresAt: string | null, disabled: boolean, declared: boolean}} Key
 *   declared: made by an object, and changed there
 */

const PAGE = 500;

/** @type {import('../app.js').Page} */
export const page = {
  title: 'Keys',
  mount(root, { session }) {
    const list = make('div');

    /** @param {Key[]} keys */
    const show = (keys) => {
      if (!keys.length) return [nothing('There is no key yet.')];
      return [
        table(
          'Keys',
          [
            { title: 'Name', cell: ({ name }) => name },
            {
              title: 'Owner',
              cell: ({ owner, role }) => withRole(owner, role),
            },
            { title: 'State', cell: stateOf },
            { title: 'Models', cell: ({ models }) => modelsInWords(models) },
            { title: 'Limits', cell: ({ limits }) => limitsInWords(limits) },
            { title: 'Expires', cell: ({ expiresAt }) => (expiresAt ? when(expiresAt) : 'Never') },
            { title: 'Actions', quiet: true, cell: actions },
          ],
          keys,
        ),
      ];
    };

    /** @param {Key} key */
    const actions = (key) => {
      if (key.declared) return make('span', { className: 'hint' }, 'Made by an object: change it there');
      const own = session.me?.kind === 'key' && session.me.name === key.name;
      const named = (/** @type {string} */ label, /** @type {() => void} */ onclick, danger = false) => {
        const control = button(label, onclick, { danger });
        control.setAttribute('aria-label', `${label} the key ${key.name}`);
        return control;
      };
      return make(
        'div',
        { className: 'row tight' },
        named('Change', () => change(key)),
        named('Rotate', () => rotate(key, own)),
        own ? null : named('Revoke', () => revoke(key), true),
      );
    };

    const create = async () => {
      const made = await keyForm(null, session);
      if (!made) return;
      await reload();
      await showSecret(made.name, made.key);
    };
    /** @param {Key} key */
    const change = async (key) => {
      if (await keyForm(key, session)) await reload();
    };
    /**
     * @param {Key} key
     * @param {boolean} own
     */
    const rotate = async (key, own) => {
      const made = await rotateForm(key.name, own);
      if (!made) return;
      await reload();
      await showSecret(key.name, made.key);
    };
    /** @param {Key} key */
    const revoke = async ({ name }) => {
      const text = `Programs that use the key ${name}, or one made with it, are refused from now on. This cannot be undone.`;
      const words = {
        title: `Revoke ${name}?`,
        text,
        button: 'Revoke',
        done: `The key ${name} is revoked.`,
        failed: 'The key was not revoked',
      };
      if (await removeAsked('v1/keys', name, words)) await reload();
    };

    const hint = session.isAdmin ? 'Of every owner.' : `Of the owner ${session.me?.owner ?? 'of your key'}.`;
    root.append(
      section(
        'API keys',
        { hint, tools: [button('New key', create, { icon: 'plus', primary: true })] },
        list,
      ),
    );
    const reload = paged(list, 'v1/keys', PAGE, show);
  },
};

/** @param {Key} key */
function stateOf({ disabled, expiresAt }) {
  if (disabled) return badge('bad', 'Disabled');
  if (expiresAt && Date.parse(expiresAt) <= Date.now()) return badge('bad', 'Expired');
  return badge('good', 'Active');
}

/**
 * Makes a key, or changes one.
 * @param {Key | null} key
 * @param {import('../session/session.js').Session} session
 * @returns {Promise<any>} what the API answered, or null
 */
function keyForm(key, { me, isAdmin }) {
  const name = line('key-name', key?.name, {
    maxLength: 253,
    disabled: Boolean(key),
    placeholder: 'team-search',
  });
  const owner = line('key-owner', key?.owner ?? me?.owner, { maxLength: 253, disabled: !isAdmin });
  const models = line('key-models', (key?.models ?? (isAdmin ? ['*'] : me?.models) ?? ['*']).join(', '));
  const expires = line('key-expires', key?.expiresAt?.slice(0, 10), { type: 'date' });
  const disabled = /** @type {HTMLInputElement} */ (
    make('input', { type: 'checkbox', id: 'key-disabled', checked: key?.disabled ?? false })
  );
  const limits = limitFields(key?.limits);
  const role = isAdmin ? roleField(key?.role ?? 'member') : null;
  const priority = isAdmin ? priorityField(key?.priority ?? 'normal') : null;
  const chosen = (/** @type {HTMLElement | null} */ holder) => holder?.querySelector('select')?.value;
  const read = () => {
    const body = {
      ...(key ? {} : { name: name.value.trim() }),
      ...(isAdmin && { owner: owner.value.trim(), role: chosen(role), priority: chosen(priority) }),
      models: names(models.value),
      limits: limits.read(),
      expiresAt: expires.value ? `${expires.value}T00:00:00Z` : null,
      ...(key && { disabled: disabled.checked }),
    };
    return save('v1/keys', key, body);
  };
  return box(
    key ? `Change ${key.name}` : 'New key',
    [
      make(
        'div',
        { className: 'grid' },
        field('Name', name, 'Small letters, digits and hyphens.'),
        field('Owner', owner, 'Person or team that its usage is counted for.'),
        field('Models', models, 'Names or patterns, with commas between: * stands for all.'),
        field('Expires', expires, 'At the beginning of this day (UTC); empty: never.'),
        role,
        priority,
      ),
      limits.element,
      ...(key
        ? [make('label', { className: 'check' }, disabled, ' Refuse this key without deleting it')]
        : []),
    ],
    read,
    { button: key ? 'Save' : 'Make the key', broad: true, fault },
  );
}

/**
 * @param {string} name
 * @param {boolean} own the key that the console itself uses
 */
function rotateForm(name, own) {
  const grace = /** @type {HTMLInputElement} */ (line('grace', '24', { inputMode: 'numeric' }));
  const text = own
    ? 'This is the key that you are signed in with: sign in with the new one afterwards.'
    : 'The key gets a new secret; its limits and its usage stay.';
  const read = () => {
    if (!/^\d{1,4}$/.test(grace.value.trim()))
      throw new WrongInput('The time is a whole number of hours, 0 or more.');
    return callJson(`v1/keys/${encodeURIComponent(name)}/rotate`, {
      body: { graceSeconds: Number(grace.value) * 3600 },
    });
  };
  return box(
    `Rotate ${name}`,
    [
      make('p', { className: 'box-text' }, text),
      field('Hours that the old secret still works', grace, '0 ends it at once.'),
    ],
    read,
    { button: 'Rotate', fault },
  );
}

/**
 * Shows a secret, once.
 * @param {string} name
 * @param {string} secret
 */
function showSecret(name, secret) {
  const shown = line('secret', secret, { readOnly: true, 'aria-label': `The key ${name}` });
  shown.addEventListener('focus', () => shown.select());
  return box(
    `The key ${name}`,
    [
      make(
        'p',
        { className: 'box-text' },
        'Copy it now: it is shown this once, and nobody can show it again.',
      ),
      make(
        'div',
        { className: 'with-button' },
        shown,
        copyButton('Copy the key', () => secret),
      ),
      facts([['Use it as', make('code', {}, 'export SLIPWAY_API_KEY=…')]]),
    ],
    () => true,
    { button: 'Done', cancel: '' },
  );
}
