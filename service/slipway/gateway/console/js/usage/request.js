/** One request by its id: what it was, what came of it, where its time went. */

import { callJson } from '../api/request.js';
import { stagesOf, waterfall } from '../chat/waterfall.js';
import { badge, facts, field, fill, section, when } from '../ui/blocks.js';
import { make } from '../ui/dom.js';
import { count, dollars, duration } from '../ui/format.js';

/**
 * A box to look a request up.
 * @param {string} id one to begin with, or ''
 */
export function requestLookUp(id) {
  const input = /** @type {HTMLInputElement} */ (
    make('input', { id: 'request-id', autocomplete: 'off', spellcheck: false, maxLength: 64, value: id })
  );
  const found = make('div', { className: 'request-found' });
  const look = () => {
    const wanted = input.value.trim();
    found.replaceChildren();
    if (wanted) fill(found, () => callJson(`v1/requests/${encodeURIComponent(wanted)}`), show);
  };
  const form = make(
    'form',
    {
      className: 'look-up',
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        look();
      },
    },
    field('Request id', input),
    make('button', { type: 'submit', className: 'plain' }, 'Look it up'),
  );
  if (id) look();
  return section(
    'One request',
    { hint: 'By the id that stands under every answer and in its header x-request-id.' },
    form,
    found,
  );
}

/** @param {any} record */
function show(record) {
  const stages = stagesOf(record);
  const good = record.status < 400;
  const served =
    record.served_model && record.served_model !== record.model ? ` (${record.served_model})` : '';
  const tokens = `${count(record.prompt_tokens)} in, ${count(record.completion_tokens)} out`;
  return [
    facts([
      ['Came to', badge(good ? 'good' : 'bad', `${record.status}${record.error ? ` ${record.error}` : ''}`)],
      ['When', when(record.started_at)],
      ['Model', `${record.model}${served}`],
      ['Key', `${record.key} of ${record.owner}`],
      ['Route', make('code', {}, record.route)],
      ['Tokens', `${tokens}${record.estimated ? ', estimated' : ''}`],
      ['Cost', dollars(record.cost_usd)],
      ['Took', record.timings?.total_ms ? duration(record.timings.total_ms) : null],
      ['Attempts', record.attempts > 1 ? count(record.attempts) : null],
      ['Trace', record.trace_id ? make('code', {}, record.trace_id) : null],
    ]),
    stages ? waterfall(stages) : null,
  ];
}
