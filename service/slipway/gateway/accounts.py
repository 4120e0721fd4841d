"""Closes the accounts of a request: limits settled, usage recorded, metrics counted, its line written."""

from collections.abc import Callable
from dataclasses import dataclass

from slipway.gateway.exchanges import CLIENT_LEFT, Exchange
from slipway.gateway.limits import Decision, LimitStore
from slipway.gateway.logs import JSONLog
from slipway.gateway.metrics import Metrics
from slipway.gateway.relay.sse import Usage
from slipway.gateway.relay.transport import UpstreamError
from slipway.gateway.usage.records import Recording


@dataclass(slots=True)
class Accounts:
    """Who is told what became of a request."""

    limits: LimitStore
    metrics: Metrics
    log: JSONLog
    clock: Callable[[], float]
    usage: Recording | None = None
    """None: no records are kept."""

    def open(self, exchange: Exchange) -> None:
        """An engine is about to be asked. Raises APIError 503 where its work could not be recorded."""
        if self.usage is not None:
            self.usage.open(exchange)

    def close(self, exchange: Exchange) -> None:
        """The request has ended, or its answer is complete but for passing it on; the first call counts."""
        if exchange.closed:
            return
        exchange.closed = True
        exchange.ended = self.clock()
        self._count(exchange)
        if exchange.reservation is not None:
            used = exchange.usage.total if exchange.usage is not None else 0
            self.limits.settle(exchange.reservation, used, exchange.cost)
        # Metrics and journal agree at every moment at which others can look: nothing is awaited in between.
        self._measure(exchange)
        if self.usage is not None:
            self.usage.close(exchange)
        self.log.request(_line(exchange))

    def limited(self, decision: Decision) -> None:
        """A limit refused a request."""
        refused = decision.refusal
        if refused is not None and not refused.never_fits:
            self.metrics.limited.labels(refused.subject.kind, refused.limit).inc()

    def fault(self, exchange: Exchange, error: UpstreamError) -> None:
        """Write what went wrong with an engine; its client is told less."""
        self.log.write(
            "warning",
            "engine_fault",
            f"{type(error).__name__}: {error}",
            request_id=exchange.request_id,
            model=exchange.model,
            endpoint=exchange.address or None,
            begun=exchange.begun,
        )

    @staticmethod
    def _count(exchange: Exchange) -> None:
        """Tokens and cost. Where an engine has worked and nobody counted, an estimate stands.

        Of a stream that is what has passed by, an event a token; of a whole answer what was reserved for it:
        or else leaving early would make it free.
        """
        if exchange.served is None or not exchange.route.counts:
            return
        usage = exchange.usage
        worked = exchange.attempts and (exchange.begun or exchange.status == CLIENT_LEFT)
        if usage is None and worked:
            exchange.estimated = True
            passed = exchange.events if exchange.stream else exchange.reserved_completion
            usage = Usage(exchange.reserved_prompt, min(passed, exchange.reserved_completion))
        if usage is not None:
            exchange.usage = usage
            exchange.cost = exchange.served.prices.cost(usage.prompt, usage.completion, usage.cached)

    def _measure(self, exchange: Exchange) -> None:
        route, usage, seconds = exchange.route, exchange.usage, exchange.ended - exchange.started
        metrics, model = self.metrics, exchange.model
        metrics.answered(route.path, route.operation, model, exchange.status, seconds, exchange.error)
        if exchange.key is None:
            metrics.strangers.inc()
        if exchange.status == CLIENT_LEFT:
            metrics.disconnects.inc()
        if exchange.version:
            self._measure_version(exchange)
        first = exchange.first_byte
        if first is not None:
            metrics.first_token(route.operation, model, first - exchange.started)
        if usage is not None:
            metrics.used(route.operation, model, usage.prompt, usage.completion, exchange.cost)
            if first is not None and usage.completion > 1:
                metrics.per_token(route.operation, model, (exchange.ended - first) / (usage.completion - 1))

    def _measure_version(self, exchange: Exchange) -> None:
        """How a version of an adapter serves; what its client left or got wrong says nothing of it."""
        served, began = exchange.served, exchange.first_byte or exchange.answered
        if served is None or exchange.status == CLIENT_LEFT:
            return
        sound = exchange.status < 500 and not exchange.error.startswith("engine_")
        seconds = began - exchange.sent if began and exchange.sent else None
        self.metrics.revisions.version(served, exchange.version, sound, seconds)


def _line(exchange: Exchange) -> dict[str, object]:
    usage = exchange.usage
    line: dict[str, object] = {
        "request_id": exchange.request_id,
        "route": exchange.route.path,
        "key": exchange.key.name if exchange.key is not None else None,
        "model": exchange.model,
        "status": exchange.status,
        "seconds": round(exchange.ended - exchange.started, 6),
    }
    if exchange.error:
        line["error"] = exchange.error
    if exchange.stream:
        line["stream"] = True
    if exchange.first_byte is not None:
        line["first_byte_seconds"] = round(exchange.first_byte - exchange.started, 6)
    if usage is not None:
        line["prompt_tokens"] = usage.prompt
        line["completion_tokens"] = usage.completion
        if usage.cached:
            line["cached_tokens"] = usage.cached
        if exchange.cost:
            line["cost_usd"] = exchange.cost / 1_000_000_000
        if exchange.estimated:
            line["estimated"] = True
    if exchange.member_of:
        line["ensemble"] = exchange.member_of
    if exchange.served is not None and exchange.served.name != exchange.model:
        line["served_model"] = exchange.served.name
    if exchange.version:
        line["version"] = exchange.version
    if exchange.address:
        line["endpoint"] = exchange.address
    if exchange.attempts > 1:
        line["attempts"] = exchange.attempts
    return line
