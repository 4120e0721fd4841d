"""What the gateway writes into the journal about an exchange; `rows` makes the record of it."""

from collections.abc import Callable
from dataclasses import dataclass

from slipway.gateway.catalog import Catalog
from slipway.gateway.exchanges import Exchange
from slipway.gateway.usage.entries import Asked, Outcome
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
        exchange.entry = self.journal.open(self._started(exchange), asked(exchange), exchange.entry)

    def close(self, exchange: Exchange) -> None:
        """The request has ended; its `ended`, tokens and cost are known."""
        if exchange.key is None or exchange.by_members:
            return
        revision = exchange.version or self.catalog.snapshot.revisions.get(exchange.address, "")
        told = outcome(exchange, revision)
        if exchange.entry:
            self.journal.close(exchange.entry, told)
        else:
            self.journal.refuse(self._started(exchange), asked(exchange), told)

    def _started(self, exchange: Exchange) -> int:
        return int((self.wall() - self.clock() + exchange.started) * 1_000_000)


def asked(exchange: Exchange) -> Asked:
    """What was asked, as far as it is known."""
    key, head, route, served = exchange.key, exchange.head, exchange.route, exchange.served
    assert key is not None  # noqa: S101 - strangers leave no record
    model = exchange.member_of or exchange.model
    who = ("", "", "")
    if served is not None:
        who = (served.name, served.service, exchange.version or served.revision)
    prompt, completion = exchange.reserved_prompt, exchange.reserved_completion
    return Asked(
        (key.name, key.owner, model, route.path, route.operation, exchange.priority, *who),
        head.request_id.decode(),
        exchange.stream,
        prompt,
        completion,
        0 if served is None else served.prices.cost(prompt, completion),
        None if head.traceparent is None else head.traceparent[3:35].decode(),
        exchange.batch,
    )


def outcome(exchange: Exchange, revision: str) -> Outcome:
    """What became of it. `revision` is the adapter's version, else the endpoint's where that is known."""
    usage = exchange.usage
    return Outcome(
        (exchange.address, revision),
        exchange.status,
        exchange.attempts,
        *((0, 0, 0, 0) if usage is None else (usage.prompt, usage.completion, usage.cached, exchange.cost)),
        exchange.estimated,
        exchange.error,
        # Seconds of the gateway's clock; the recorder works out what lies between them.
        (
            exchange.started,
            exchange.authenticated,
            exchange.limited,
            exchange.relayed,
            exchange.sent,
            exchange.answered,
            exchange.first_byte,
            exchange.ended,
        ),
    )
