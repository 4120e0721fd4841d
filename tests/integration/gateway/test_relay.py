"""Between client and engine: what is passed on, tried again, given up, and told."""

import asyncio
import json
from typing import Any

import pytest

from integration.gateway.clients import chat, connect, request
from integration.gateway.conftest import Start, StartUpstream
from integration.gateway.upstreams import CHAT, Exchange, behave, chunk, usage_chunk

PATH = "/v1/chat/completions"


async def test_an_answer_passes_through_unchanged(start: Start, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    reply = await gateway.call(PATH, chat())
    assert reply.status == 200
    assert reply.json == CHAT
    assert reply.headers["content-type"] == "application/json"


async def test_the_engine_gets_a_fresh_head_and_nothing_of_the_clients(
    start: Start, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    extra = {
        "cookie": "a=b",
        "x-forwarded-for": "1.2.3.4",
        "x-request-id": "mine-1",
        "traceparent": trace,
        "x-anything": "x",
        "te": "trailers",
    }
    reply = await gateway.call(PATH, chat(), headers=extra)
    assert reply.headers["x-request-id"] == "mine-1"
    assert upstream.requests[0].headers == {
        "host": upstream.address,
        "content-type": "application/json",
        "content-length": str(len(upstream.requests[0].body)),
        "authorization": "Bearer engine-secret",
        "x-request-id": "mine-1",
        "traceparent": trace,
    }


@pytest.mark.parametrize("bad", ["a b", "x" * 65, "ümlaut", "a/b", "<script>", ""])
async def test_a_request_id_that_is_not_plain_is_replaced(
    start: Start, start_upstream: StartUpstream, bad: str
) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    reply = await gateway.call(PATH, chat(), headers={"x-request-id": bad})
    assert reply.headers["x-request-id"] != bad
    assert upstream.requests[0].headers["x-request-id"] == reply.headers["x-request-id"]


async def test_a_stream_passes_event_by_event(start: Start, start_upstream: StartUpstream) -> None:
    go_on = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("one"))
        await go_on.wait()
        await exchange.event(chunk("two"))
        await exchange.event(usage_chunk())
        await exchange.end_stream()

    gateway = await start(await start_upstream(script))
    async with connect(gateway.port) as client:
        await client.send(request(PATH, chat(stream=True)))
        status, headers = await client.read_head()
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        # The first event is here although the engine has not sent the second.
        assert json.loads((await client.read_chunk()).removeprefix(b"data: ")) == chunk("one")
        go_on.set()
        rest = b""
        while part := await client.read_chunk():
            rest += part
    assert [event for event in rest.decode().split("\n\n") if event][-1] == "data: [DONE]"
    assert b"usage" not in rest


@pytest.mark.parametrize("asked", [True, False])
async def test_usage_is_always_counted_and_shown_when_asked_for(
    start: Start, start_upstream: StartUpstream, asked: bool
) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
    reply = await gateway.call(PATH, chat(stream=True, **options))
    assert upstream.requests[0].json["stream_options"] == {"include_usage": True}
    assert any('"usage"' in event for event in reply.events) is asked
    assert reply.events[-1] == "[DONE]"
    (line,) = [line for line in gateway.log if line["event"] == "request"]
    assert (line["prompt_tokens"], line["completion_tokens"]) == (7, 2)


async def test_connections_to_the_engine_are_kept(start: Start, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    for _ in range(5):
        assert (await gateway.call(PATH, chat())).status == 200
    assert upstream.connections == 1


async def test_a_kept_connection_that_went_stale_is_replaced(
    start: Start, start_upstream: StartUpstream
) -> None:
    async def closes_without_saying(exchange: Exchange) -> None:
        await exchange.answer(CHAT)
        if len(upstream.requests) == 1:
            exchange.abort()

    upstream = await start_upstream(closes_without_saying)
    gateway = await start(upstream, attempts=1)
    for _ in range(3):
        assert (await gateway.call(PATH, chat())).status == 200
    assert upstream.connections == 2


async def test_a_kept_connection_closed_under_the_request_is_tried_on_a_fresh_one(
    start: Start, start_upstream: StartUpstream
) -> None:
    async def closes_on_the_second(exchange: Exchange) -> None:
        if exchange.request.connection == 1 and len(upstream.requests) == 2:
            exchange.abort()
        else:
            await exchange.answer(CHAT)

    upstream = await start_upstream(closes_on_the_second)
    gateway = await start(upstream, attempts=1)
    for _ in range(2):
        assert (await gateway.call(PATH, chat())).status == 200
    assert [each.connection for each in upstream.requests] == [1, 1, 2]


async def refuse(exchange: Exchange) -> None:
    await exchange.answer({"error": "draining"}, 503)


async def close(exchange: Exchange) -> None:
    exchange.abort()


async def half_a_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: text")
    exchange.abort()


@pytest.mark.parametrize("fault", [refuse, close, half_a_head])
async def test_a_failed_endpoint_is_tried_elsewhere_before_the_first_byte(
    start: Start, start_upstream: StartUpstream, fault: object
) -> None:
    bad = await start_upstream(fault)
    good = await start_upstream()
    gateway = await start(bad, good)
    for _ in range(8):
        assert (await gateway.call(PATH, chat(stream=True))).status == 200
    assert len(good.requests) == 8
    # Once it has failed it is the last choice: it is not asked again while the other one answers.
    assert len(bad.requests) == 1


async def test_an_unreachable_endpoint_is_tried_elsewhere(
    start: Start, start_upstream: StartUpstream
) -> None:
    gone = await start_upstream()
    await gone.stop()
    good = await start_upstream()
    gateway = await start(gone, good)
    for _ in range(4):
        assert (await gateway.call(PATH, chat())).status == 200


@pytest.mark.parametrize(
    ("fault", "status", "code"), [(refuse, 503, "overloaded"), (close, 502, "engine_closed")]
)
async def test_when_all_have_failed_the_client_is_told(
    start: Start, start_upstream: StartUpstream, fault: object, status: int, code: str
) -> None:
    upstreams = [await start_upstream(fault) for _ in range(2)]
    gateway = await start(*upstreams)
    reply = await gateway.call(PATH, chat())
    assert (reply.status, reply.error["code"]) == (status, code)
    assert [len(upstream.requests) for upstream in upstreams] == [1, 1]
    if status == 503:
        assert int(reply.headers["retry-after"]) >= 1


async def test_an_engine_that_cannot_be_reached(start: Start, start_upstream: StartUpstream) -> None:
    gone = await start_upstream()
    await gone.stop()
    gateway = await start(gone)
    reply = await gateway.call(PATH, chat())
    assert (reply.status, reply.error["code"]) == (503, "engine_unreachable")
    assert "retry-after" in reply.headers


async def test_a_stream_that_is_cut_ends_with_an_error_event_and_without_done(
    start: Start, start_upstream: StartUpstream
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("one"))
        await exchange.chunk(b'data: {"id":"chatcmpl-1","choi')
        exchange.abort()

    bad = await start_upstream(script)
    gateway = await start(bad)
    reply = await gateway.call(PATH, chat(stream=True))
    assert reply.status == 200
    assert json.loads(reply.events[0]) == chunk("one")
    assert json.loads(reply.events[1])["error"]["code"] == "engine_cut_off"
    assert len(reply.events) == 2
    assert len(bad.requests) == 1


async def test_a_stream_that_ends_without_done_is_told_as_cut(
    start: Start, start_upstream: StartUpstream
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("one"))
        await exchange.send(b"0\r\n\r\n")

    gateway = await start(await start_upstream(script))
    reply = await gateway.call(PATH, chat(stream=True))
    assert json.loads(reply.events[-1])["error"]["code"] == "engine_cut_off"


async def test_an_engines_own_error_event_is_not_passed_on_in_its_words(
    start: Start, start_upstream: StartUpstream
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("one"))
        await exchange.event({"error": {"message": "Traceback: File /opt/vllm/engine.py", "code": 500}})
        await exchange.end_stream()

    gateway = await start(await start_upstream(script))
    reply = await gateway.call(PATH, chat(stream=True))
    assert b"Traceback" not in reply.body
    assert b"[DONE]" not in reply.body
    assert json.loads(reply.events[-1])["error"]["code"] == "engine_failed"


async def test_a_json_answer_that_is_cut_before_it_began_is_a_502(
    start: Start, start_upstream: StartUpstream
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
        )
        exchange.abort()

    gateway = await start(await start_upstream(script))
    reply = await gateway.call(PATH, chat())
    assert (reply.status, reply.error["code"]) == (502, "engine_closed")


async def test_a_json_answer_that_is_cut_later_is_visibly_incomplete(
    start: Start, start_upstream: StartUpstream
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n" + b'{"id":'
        )
        await released.wait()
        exchange.abort()

    released = asyncio.Event()
    gateway = await start(await start_upstream(script))
    async with connect(gateway.port) as client:
        await client.send(request(PATH, chat(), close=False))
        await client.read_head()
        released.set()
        # The connection ends before the 99 bytes that were promised.
        assert len(await client.at_end()) < 99


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\n<html",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 500 + b"\r\n",
    ],
)
async def test_garbage_is_a_502(start: Start, start_upstream: StartUpstream, garbage: bytes) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(garbage)

    gateway = await start(await start_upstream(script))
    reply = await gateway.call(PATH, chat())
    assert (reply.status, reply.error["code"]) == (502, "engine_failed")


async def test_an_answer_may_come_in_any_pieces(start: Start, start_upstream: StartUpstream) -> None:
    body = json.dumps(CHAT).encode()

    async def script(exchange: Exchange) -> None:
        whole = (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        )
        for position in range(len(whole)):
            await exchange.send(whole[position : position + 1])
            await asyncio.sleep(0)

    gateway = await start(await start_upstream(script))
    for _ in range(2):
        reply = await gateway.call(PATH, chat())
        assert reply.json == CHAT


async def test_an_engine_that_says_nothing_is_a_504(start: Start, start_upstream: StartUpstream) -> None:
    closed = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.closed_by_peer()
        closed.set()

    gateway = await start(await start_upstream(script), engine_first_byte_timeout=0.05)
    reply = await gateway.call(PATH, chat())
    assert (reply.status, reply.error["code"]) == (504, "engine_timeout")
    await closed.wait()


async def test_an_engine_that_falls_silent_in_a_stream(start: Start, start_upstream: StartUpstream) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("one"))
        await exchange.closed_by_peer()

    gateway = await start(await start_upstream(script), engine_idle_timeout=0.05)
    reply = await gateway.call(PATH, chat(stream=True))
    assert json.loads(reply.events[-1])["error"]["code"] == "engine_timeout"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("begun", [True, False])
async def test_a_client_that_leaves_cancels_the_engine(
    start: Start, start_upstream: StartUpstream, stream: bool, begun: bool
) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if begun and stream:
            await exchange.begin_stream()
            await exchange.event(chunk("one"))
        elif begun:
            await exchange.send(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
            )
        arrived.set()
        await exchange.closed_by_peer()
        closed.set()

    upstream = await start_upstream(script)
    gateway = await start(upstream)
    async with connect(gateway.port) as client:
        await client.send(request(PATH, chat(stream=stream)))
        await arrived.wait()
        if begun and stream:
            await client.read_head()
    await closed.wait()
    await gateway.until(lambda: gateway.outstanding(upstream) == 0)
    await gateway.until(lambda: any(line.get("status") == 499 for line in gateway.log))
    assert gateway.gateway.serving.in_flight == 0


async def test_a_slow_reader_makes_the_engine_wait(start: Start, start_upstream: StartUpstream) -> None:
    """Memory stays bounded: what the client does not read piles up in no buffer of the gateway."""
    sent = 0
    size = 64_000
    blocked = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.begin_stream()
        for _ in range(1000):
            try:
                async with asyncio.timeout(1.0):
                    await exchange.chunk(b"data: " + b"x" * size + b"\n\n")
            except TimeoutError:
                blocked.set()
                await exchange.writer.drain()
            sent += size
        await exchange.end_stream()

    gateway = await start(await start_upstream(script))
    async with connect(gateway.port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(request(PATH, chat(stream=True)))
        await blocked.wait()
        assert sent < 1000 * size / 2
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        total = len(await client.at_end())
    assert total > 1000 * size


async def test_a_client_that_reads_nothing_is_cut_off(start: Start, start_upstream: StartUpstream) -> None:
    closed = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        try:
            while True:
                await exchange.chunk(b"data: " + b"x" * 64_000 + b"\n\n")
        except ConnectionError:
            closed.set()

    upstream = await start_upstream(script)
    gateway = await start(upstream, write_timeout=0.1)
    async with connect(gateway.port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(request(PATH, chat(stream=True)))
        await closed.wait()
    await gateway.until(lambda: gateway.outstanding(upstream) == 0)


async def test_requests_wait_for_a_free_endpoint_in_turn(start: Start, start_upstream: StartUpstream) -> None:
    release = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await release.wait()
        await behave(exchange)

    upstream = await start_upstream(script)
    gateway = await start(upstream, max_per_endpoint=1, max_queue=2)
    calls = []
    for number in range(3):
        calls.append(asyncio.create_task(gateway.call(PATH, chat(str(number)))))
        await gateway.until(lambda: gateway.gateway.serving.in_flight == len(calls))
        await gateway.until(lambda: gateway.gateway.relay.waiting + len(upstream.requests) == len(calls))
    refused = await gateway.call(PATH, chat("one too many"))
    assert (refused.status, refused.error["code"]) == (503, "overloaded")
    assert "retry-after" in refused.headers
    assert len(upstream.requests) == 1
    release.set()
    assert [reply.status for reply in await asyncio.gather(*calls)] == [200, 200, 200]
    assert [each.json["messages"][0]["content"] for each in upstream.requests] == ["0", "1", "2"]


async def test_waiting_has_an_end(start: Start, start_upstream: StartUpstream) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.closed_by_peer()

    upstream = await start_upstream(script)
    gateway = await start(upstream, max_per_endpoint=1, queue_timeout=0.05)
    async with connect(gateway.port) as client:
        await client.send(request(PATH, chat()))
        await gateway.until(lambda: len(upstream.requests) == 1)
        reply = await gateway.call(PATH, chat())
        assert (reply.status, reply.error["code"]) == (503, "overloaded")
        assert gateway.gateway.relay.waiting == 0


async def test_who_leaves_while_waiting_gives_the_turn_to_the_next(
    start: Start, start_upstream: StartUpstream
) -> None:
    release = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await release.wait()
        await behave(exchange)

    upstream = await start_upstream(script)
    gateway = await start(upstream, max_per_endpoint=1)
    first = asyncio.create_task(gateway.call(PATH, chat("first")))
    await gateway.until(lambda: len(upstream.requests) == 1)
    async with connect(gateway.port) as client:
        await client.send(request(PATH, chat("leaves")))
        await gateway.until(lambda: gateway.gateway.relay.waiting == 1)
        third = asyncio.create_task(gateway.call(PATH, chat("third")))
        await gateway.until(lambda: gateway.gateway.relay.waiting == 2)
    await gateway.until(lambda: gateway.gateway.relay.waiting == 1)
    release.set()
    assert [(await first).status, (await third).status] == [200, 200]
    assert [each.json["messages"][0]["content"] for each in upstream.requests] == ["first", "third"]


async def test_requests_go_to_the_endpoint_with_the_fewest(
    start: Start, start_upstream: StartUpstream
) -> None:
    release = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await release.wait()
        await behave(exchange)

    upstreams = [await start_upstream(script) for _ in range(3)]
    gateway = await start(*upstreams)
    calls = [asyncio.create_task(gateway.call(PATH, chat())) for _ in range(9)]
    await gateway.until(lambda: sum(len(upstream.requests) for upstream in upstreams) == 9)
    assert [len(upstream.requests) for upstream in upstreams] == [3, 3, 3]
    release.set()
    await asyncio.gather(*calls)


@pytest.mark.parametrize(
    ("status", "body", "expected", "code", "passes"),
    [
        (
            400,
            {"error": {"message": "too long by 3 tokens", "param": "prompt"}},
            400,
            "invalid_request",
            True,
        ),
        (400, {"error": {"message": "bad at /opt/vllm/x.py line 3"}}, 400, "invalid_request", False),
        (422, {"detail": "no"}, 400, "invalid_request", True),
        (401, {"error": "Unauthorized"}, 502, "engine_failed", False),
        (404, {"error": {"message": "The model `m` does not exist."}}, 503, "model_not_ready", False),
        (404, {"detail": "Not Found"}, 400, "not_offered", False),
        (500, {"error": {"message": "CUDA out of memory"}}, 502, "engine_failed", False),
        (500, b"<html>oh no</html>", 502, "engine_failed", False),
        (504, b"", 504, "engine_timeout", False),
    ],
)
async def test_an_engines_errors_become_the_gateways(
    start: Start,
    start_upstream: StartUpstream,
    status: int,
    body: object,
    expected: int,
    code: str,
    passes: bool,
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(body, status)

    gateway = await start(await start_upstream(script))
    reply = await gateway.call(PATH, chat())
    assert (reply.status, reply.error["code"]) == (expected, code)
    said = body.get("error", body.get("detail")) if isinstance(body, dict) else ""
    words = said["message"] if isinstance(said, dict) else said
    assert (reply.error["message"] == words) is passes


async def test_the_queue_goes_on_when_an_endpoint_is_added(
    start: Start, start_upstream: StartUpstream
) -> None:
    async def hangs(exchange: Exchange) -> None:
        await exchange.closed_by_peer()

    stuck = await start_upstream(hangs)
    fresh = await start_upstream()
    gateway = await start(stuck, max_per_endpoint=1)
    async with connect(gateway.port) as client:
        await client.send(request(PATH, chat()))
        await gateway.until(lambda: len(stuck.requests) == 1)
        waiting = asyncio.create_task(gateway.call(PATH, chat()))
        await gateway.until(lambda: gateway.gateway.relay.waiting == 1)
        gateway.state.endpoints(m=[stuck.address, fresh.address])
        assert (await waiting).status == 200


async def test_names_of_adapters_lead_to_the_same_endpoints(
    start: Start, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    assert (await gateway.call(PATH, chat(model="m-sql"))).status == 200
    assert upstream.requests[0].json["model"] == "m-sql"
