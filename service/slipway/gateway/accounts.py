"""What becomes of a request, and who is told in the end: metrics and the log."""

from dataclasses import dataclass, field

from slipway.gateway.auth import Key
from slipway.gateway.errors import Headers
from slipway.gateway.logs import JSONLog
from slipway.gateway.metrics import UNKNOWN, Metrics
from slipway.gateway.relay.sse import Usage
from slipway.gateway.relay.transport import UpstreamError
from slipway.gateway.requests import Head
from slipway.gateway.routes import Route

CLIENT_LEFT = 499
"""Status in logs and metrics for a client that left; nobody is there to receive it."""


@dataclass(slots=True)
class Record:
    """What becomes of one request; the source of its log line and metrics."""

    route: Route
    head: Head
    started: float
    key: Key | None = None
    model: str = UNKNOWN
    stream: bool = False
    status: int = 500
    error: str = ""
    address: str = ""
    attempts: int = 0
    first_byte: float | None = None
    usage: Usage | None = None
    begun: bool = False
    """The answer's head went to the client."""
    headers: Headers = field(default_factory=list)


def account(record: Record, seconds: float, metrics: Metrics, log: JSONLog) -> None:
    """Count a request that has ended after `seconds`, and write its line."""
    route, usage = record.route, record.usage
    metrics.answered(route.path, route.operation, record.model, record.status, seconds, record.error)
    if record.first_byte is not None:
        metrics.first_token(route.operation, record.model, record.first_byte)
    if usage is not None:
        metrics.used(route.operation, record.model, usage.prompt, usage.completion)
        if record.first_byte is not None and usage.completion > 1:
            each = (seconds - record.first_byte) / (usage.completion - 1)
            metrics.per_token(route.operation, record.model, each)
    line: dict[str, object] = {
        "request_id": record.head.request_id.decode(),
        "route": route.path,
        "key": record.key.name if record.key is not None else None,
        "model": record.model,
        "status": record.status,
        "seconds": round(seconds, 6),
    }
    if record.error:
        line["error"] = record.error
    if record.stream:
        line["stream"] = True
    if record.first_byte is not None:
        line["first_byte_seconds"] = round(record.first_byte, 6)
    if usage is not None:
        line["prompt_tokens"] = usage.prompt
        line["completion_tokens"] = usage.completion
    if record.address:
        line["endpoint"] = record.address
    if record.attempts > 1:
        line["attempts"] = record.attempts
    log.request(line)


def log_fault(record: Record, error: UpstreamError, log: JSONLog) -> None:
    """Write what went wrong with an engine; its client is told less."""
    log.write(
        "warning",
        "engine_fault",
        f"{type(error).__name__}: {error}",
        request_id=record.head.request_id.decode(),
        model=record.model,
        endpoint=record.address or None,
        begun=record.begun,
    )
