"""Traces: a collector over real HTTP and protobuf receives the spans of real requests."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from integration.gateway.conftest import Running, Start, StartUpstream
from integration.gateway.upstreams import Exchange, Upstream, behave


@dataclass
class Collector:
    """What an OpenTelemetry collector received."""

    port: int = 0
    spans: list[Any] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        request = ExportTraceServiceRequest.FromString(await reader.readexactly(length))
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        self.arrived.set()

    def named(self, name: str) -> Any:
        return next(span for span in self.spans if span.name == name)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    made = Collector()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.fixture
async def start(start: Start) -> AsyncIterator[Start]:
    """Leaves no thread that exports."""
    made: list[Running] = []

    async def begin(*upstreams: Upstream | str, **settings: Any) -> Running:
        made.append(await start(*upstreams, **settings))
        return made[-1]

    yield begin
    for running in made:
        assert running.gateway.serving.tracing is not None
        await asyncio.to_thread(running.gateway.serving.tracing.close)
    assert not any(thread.name.startswith("Otel") for thread in threading.enumerate())


BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def traced(start: Start, upstream: Upstream, collector: Collector, **headers: str) -> None:
    running = await start(
        upstream, otlp_endpoint=f"http://127.0.0.1:{collector.port}", trace_share=1.0 if not headers else 0.0
    )
    await running.call("/v1/chat/completions", BODY, headers=headers)
    assert running.gateway.serving.tracing is not None
    await asyncio.to_thread(running.gateway.serving.tracing._provider.force_flush)
    await collector.arrived.wait()


async def test_a_requests_spans_nest_and_the_engine_hangs_below(
    start: Start, start_upstream: StartUpstream, collector: Collector
) -> None:
    upstream = await start_upstream()
    await traced(start, upstream, collector, traceparent=f"00-{TRACE}-{PARENT}-01")
    server = collector.named("chat m")
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert server.parent_span_id.hex() == PARENT
    names = {span.name for span in collector.spans}
    assert names == {"chat m", "auth", "limits", "route", "queue", "upstream", "stream"}
    for span in collector.spans:
        assert span is server or span.parent_span_id == server.span_id
        assert server.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= server.end_time_unix_nano
    sent = upstream.requests[0].headers["traceparent"]
    assert sent == f"00-{TRACE}-{collector.named('upstream').span_id.hex()}-01"
    attributes = {each.key: each.value for each in server.attributes}
    assert attributes["gen_ai.request.model"].string_value == "m"
    assert attributes["gen_ai.usage.output_tokens"].int_value == 2


async def test_what_its_caller_does_not_trace_is_not_traced(
    start: Start, start_upstream: StartUpstream, collector: Collector
) -> None:
    upstream = await start_upstream()
    running = await start(upstream, otlp_endpoint=f"http://127.0.0.1:{collector.port}", trace_share=1.0)
    await running.call("/v1/chat/completions", BODY, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    await running.call("/v1/chat/completions", BODY)
    assert running.gateway.serving.tracing is not None
    await asyncio.to_thread(running.gateway.serving.tracing._provider.force_flush)
    await collector.arrived.wait()
    assert TRACE not in {span.trace_id.hex() for span in collector.spans}
    assert upstream.requests[0].headers["traceparent"] == f"00-{TRACE}-{PARENT}-00"


async def test_a_failed_request_says_why(
    start: Start, start_upstream: StartUpstream, collector: Collector
) -> None:
    async def script(exchange: Exchange) -> None:
        exchange.abort()

    await traced(start, await start_upstream(script), collector)
    attributes = {each.key: each.value for each in collector.named("chat m").attributes}
    assert attributes["error.type"].string_value == "engine_closed"
    assert attributes["http.response.status_code"].int_value == 502
    assert "stream" not in {span.name for span in collector.spans}


async def test_a_collector_that_is_away_costs_no_request(start: Start, start_upstream: StartUpstream) -> None:
    running = await start(await start_upstream(behave), otlp_endpoint="http://127.0.0.1:9", trace_share=1.0)
    replies = [await running.call("/v1/chat/completions", BODY) for _ in range(5)]
    assert [reply.status for reply in replies] == [200] * 5
