"""What the gateway writes into the journal about an exchange; `rows` makes the record of it."""

from collections.abc import Callable
from dataclasses import dataclass

from slipway.gateway.catalog import Catalog
from slipway.gateway.exchanges import Exchange
from slipway.gateway.usage.journal import UsageJournal


@dataclass(frozen=True, slots=True)
class Recording:
    """Writes exchanges to the journal. Those without a good key leave no record: strangers cost nothing."""

    journal: UsageJournal
    catalog: Catalog
    clock: Callable[[], float]
    """The clock of the exchanges' times, in seconds."""
    wall: Callable[[], float]

    def open(self, exchange: Exchange) -> None:
        """An engine is about to be asked. Raises APIError 503 where that could not be recorded."""
        exchange.entry = self.journal.open(self._started(exchange), opened(exchange), exchange.entry)

    def close(self, exchange: Exchange) -> None:
        """The request has ended; its `ended`, tokens and cost are known."""
        if exchange.key is None:
            return
        fields = closed(exchange, self.catalog.snapshot.revisions.get(exchange.address))
        if exchange.entry:
            self.journal.close(exchange.entry, fields)
        else:
            self.journal.refuse(self._started(exchange), opened(exchange) | fields)

    def _started(self, exchange: Exchange) -> int:
        return int((self.wall() - self.clock() + exchange.started) * 1_000_000)


def opened(exchange: Exchange) -> dict[str, object]:
    """What was asked, known before an engine is; enough for a record if nothing more can be written."""
    key, head, route, served = exchange.key, exchange.head, exchange.route, exchange.served
    assert key is not None  # noqa: S101 - strangers leave no record
    fields: dict[str, object] = {
        "request_id": head.request_id.decode(),
        "key": key.name,
        "owner": key.owner,
        "model": exchange.model,
        "route": route.path,
        "operation": route.operation,
        "stream": exchange.stream,
        "priority": exchange.priority,
    }
    if head.traceparent is not None:
        fields["trace_id"] = head.traceparent[3:35].decode()
    if exchange.batch is not None:
        fields["batch"] = exchange.batch
    if served is not None:
        prompt, completion = exchange.reserved_prompt, exchange.reserved_completion
        fields["served_model"] = served.name
        fields["service"] = served.service
        fields["revision"] = served.revision
        fields["reserved"] = (prompt, completion, served.prices.cost(prompt, completion))
    return fields


def closed(exchange: Exchange, revision: str | None) -> dict[str, object]:
    """What became of it; with `opened` the whole record. `revision` is the endpoint's where that is known."""
    usage = exchange.usage
    fields: dict[str, object] = {
        "status": exchange.status,
        "attempts": exchange.attempts,
        # Seconds of the gateway's clock; the recorder works out what lies between them.
        "times": (
            exchange.started,
            exchange.authenticated,
            exchange.limited,
            exchange.relayed,
            exchange.sent,
            exchange.answered,
            exchange.first_byte,
            exchange.ended,
        ),
    }
    if exchange.address:
        fields["endpoint"] = exchange.address
    if usage is not None:
        fields["tokens"] = (usage.prompt, usage.completion, usage.cached, exchange.cost)
        if exchange.estimated:
            fields["estimated"] = True
    if exchange.error:
        fields["error"] = exchange.error
    if revision:
        fields["revision"] = revision
    return fields
