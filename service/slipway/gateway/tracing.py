"""OpenTelemetry traces: a span for each request, and below it auth, limits, queue, upstream, stream.

Nothing is measured for the sake of a trace: spans are made from the times that an exchange has anyway, after
it has ended, and only for sampled requests. The upstream span's id is chosen before the engine is asked, so
that the engine's own spans hang below it. Names follow OpenTelemetry's GenAI conventions
(semantic-conventions-genai, not stable, as of 2026).
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random, SystemRandom
from threading import Timer
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from slipway import __version__
from slipway.gateway.exchanges import CLIENT_LEFT, Exchange
from slipway.gateway.metrics import PROVIDER
from slipway.gateway.sampled import Sampled

LAST_EXPORT = 2.0
"""Seconds that the spans which wait at the end may take to be sent."""


@dataclass(slots=True)
class _ChosenIds(IdGenerator):
    """Hands out the ids that were chosen, else random ones."""

    random: Random
    chosen: deque[int] = field(default_factory=deque)
    trace_id: int = 0

    def generate_span_id(self) -> int:
        return self.chosen.popleft() if self.chosen else _nonzero(self.random, 64)

    def generate_trace_id(self) -> int:
        return self.trace_id or _nonzero(self.random, 128)


def _nonzero(random: Random, bits: int) -> int:
    return random.getrandbits(bits) or 1


class Tracing:
    """Decides which requests are traced, and exports their spans."""

    def __init__(
        self,
        processor: SpanProcessor,
        *,
        share: float,
        clock: Callable[[], float],
        wall_ns: Callable[[], int],
        random: Random,
        give_up: Callable[[], None] = lambda: None,
    ) -> None:
        """Trace `share` (0 to 1) of the requests that bring no decision of their own in `traceparent`."""
        self._ids = _ChosenIds(random)
        self._random = random
        self._share = share
        self._clock = clock
        self._wall_ns = wall_ns
        self._give_up = give_up
        resource = Resource.create({"service.name": "slipway-gateway", "service.version": __version__})
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer: Tracer = self._provider.get_tracer("slipway.gateway", __version__)

    def sample(self, traceparent: bytes | None) -> Sampled | None:
        """Whether this request is traced: as its caller decided, otherwise by chance."""
        random = self._random
        if traceparent is not None:
            if not int(traceparent[53:55], 16) & 1:
                return None
            trace_id, parent = int(traceparent[3:35], 16), int(traceparent[36:52], 16)
            return Sampled(trace_id, _nonzero(random, 64), _nonzero(random, 64), parent)
        if random.random() >= self._share:
            return None
        return Sampled(_nonzero(random, 128), _nonzero(random, 64), _nonzero(random, 64), None)

    def record(self, exchange: Exchange) -> None:
        """Export the spans of an exchange that has ended, if it is traced."""
        sampled = exchange.sampled
        if sampled is None:
            return
        offset = self._wall_ns() - int(self._clock() * 1e9)

        def at(seconds: float) -> int:
            return int(seconds * 1e9) + offset

        self._ids.trace_id = sampled.trace_id
        self._ids.chosen.append(sampled.server)
        parent = Context()
        if sampled.parent is not None:
            remote = SpanContext(sampled.trace_id, sampled.parent, True, TraceFlags(1))
            parent = set_span_in_context(NonRecordingSpan(remote), parent)
        span = self._tracer.start_span(
            f"{exchange.route.operation} {exchange.model}",
            parent,
            SpanKind.SERVER,
            attributes=_attributes(exchange),
            start_time=at(exchange.started),
        )
        inside = set_span_in_context(span, Context())
        for name, begin, end, span_id in _parts(exchange, sampled.upstream):
            if span_id is not None:
                self._ids.chosen.append(span_id)
            kind = SpanKind.CLIENT if name == "upstream" else SpanKind.INTERNAL
            part = self._tracer.start_span(name, inside, kind, start_time=at(begin))
            if name == "upstream" and exchange.address:
                host, _, port = exchange.address.rpartition(":")
                part.set_attributes({"server.address": host, "server.port": int(port)})
            part.end(at(end))
        if exchange.error:
            span.set_attribute("error.type", exchange.error)
            if exchange.status >= 500:
                span.set_status(Status(StatusCode.ERROR, exchange.error))
        span.end(at(exchange.ended))
        self._ids.trace_id = 0

    def close(self) -> None:
        """Export what waits, then stop; a collector that is away does not hold up the end."""
        late = Timer(LAST_EXPORT, self._give_up)
        late.daemon = True
        late.start()
        self._provider.shutdown()
        late.cancel()


def tracing_to(endpoint: str, share: float, clock: Callable[[], float]) -> Tracing:
    """Traces sent by OTLP over HTTP to a collector's base URL, in batches, from a thread of its own."""
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=10)
    return Tracing(
        BatchSpanProcessor(exporter),
        share=share,
        clock=clock,
        wall_ns=time.time_ns,
        random=SystemRandom(),
        give_up=exporter.shutdown,
    )


def _attributes(exchange: Exchange) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": exchange.route.operation,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": exchange.model,
        "http.request.method": "POST",
        "http.route": exchange.route.path,
        "http.response.status_code": exchange.status,
        "slipway.request_id": exchange.request_id,
        "slipway.attempts": exchange.attempts,
        "slipway.stream": exchange.stream,
    }
    if exchange.key is not None:
        attributes |= {"slipway.key": exchange.key.name, "slipway.owner": exchange.key.owner}
    if exchange.served is not None:
        attributes["gen_ai.response.model"] = exchange.served.name
    if exchange.usage is not None:
        attributes["gen_ai.usage.input_tokens"] = exchange.usage.prompt
        attributes["gen_ai.usage.output_tokens"] = exchange.usage.completion
    if exchange.status == CLIENT_LEFT:
        attributes["slipway.client_left"] = True
    return attributes


def _parts(exchange: Exchange, upstream: int) -> list[tuple[str, float, float, int | None]]:
    """The spans inside: name, begin, end, a chosen id. A part that was not reached has none."""
    end = exchange.ended
    points = [
        ("auth", exchange.started, exchange.authenticated),
        ("limits", exchange.authenticated, exchange.limited),
        ("route", exchange.limited, exchange.relayed),
        ("queue", exchange.relayed, exchange.sent),
    ]
    parts: list[tuple[str, float, float, int | None]] = [
        (name, begin, until, None) for name, begin, until in points if begin and until
    ]
    if exchange.sent:
        parts.append(("upstream", exchange.sent, exchange.answered or end, upstream))
    if exchange.answered:
        parts.append(("stream" if exchange.stream else "answer", exchange.answered, end, None))
    return parts
