"""Bytes that no client library sends: smuggling, odd Hosts, slow and oversized heads and bodies."""

import asyncio
import json

import pytest

from integration.gateway.clients import Reply, chat, connect, request
from integration.gateway.conftest import Running, Start, StartUpstream
from integration.gateway.upstreams import Exchange, behave

PATH = "/v1/chat/completions"
BODY = json.dumps(chat()).encode()
SECOND = b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


async def raw(gateway: Running, data: bytes) -> Reply:
    """The first answer to exactly these bytes; there must be no second one."""
    async with connect(gateway.port) as client:
        await client.send(data)
        reply = await client.read_reply()
        assert await client.at_end() == b"", "more than one answer"
        return reply


def post(*lines: bytes, body: bytes = BODY) -> bytes:
    head = [b"POST %b HTTP/1.1" % PATH.encode(), b"host: gateway", b"authorization: Bearer sk-test", *lines]
    return b"\r\n".join([*head, b"", b""]) + body


LENGTH = b"content-length: %d" % len(BODY)
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(post(LENGTH, b"transfer-encoding: chunked", body=CHUNKED), id="length and chunked"),
        pytest.param(post(b"transfer-encoding: chunked", LENGTH, body=CHUNKED), id="chunked and length"),
        pytest.param(post(LENGTH, b"content-length: 1"), id="two lengths"),
        pytest.param(post(LENGTH, LENGTH), id="the same length twice"),
        pytest.param(post(b"content-length: +%d" % len(BODY)), id="signed length"),
        pytest.param(post(b"content-length: 0x10"), id="hexadecimal length"),
        pytest.param(post(b"content-length: -1"), id="negative length"),
        pytest.param(post(b"content-length: 1, 1"), id="list of lengths"),
        pytest.param(post(b"content-length: 99999999999999999999999"), id="endless length"),
        pytest.param(post(b"transfer-encoding: xchunked", body=CHUNKED), id="unknown coding"),
        pytest.param(post(b"transfer-encoding: chunked, identity", body=CHUNKED), id="chunked not last"),
        pytest.param(post(b"transfer-encoding : chunked", body=CHUNKED), id="space before the colon"),
        pytest.param(post(b"x: y", b" transfer-encoding: chunked", LENGTH), id="folded header"),
        pytest.param(
            post(b"transfer-encoding: chunked", body=b"zz\r\nabc\r\n0\r\n\r\n"), id="bad chunk size"
        ),
        pytest.param(post(b"transfer-encoding: chunked", body=b"3\nabc\n0\n\n"), id="bare LF in chunks"),
        pytest.param(
            post(b"transfer-encoding: chunked", body=b"3\r\nabcd\r\n0\r\n\r\n"), id="chunk too long"
        ),
        pytest.param(
            post(b"transfer-encoding: chunked", body=b"ffffffffffffffffff\r\n"), id="huge chunk size"
        ),
        pytest.param(post(LENGTH).replace(b"\r\n", b"\n"), id="bare LF"),
        pytest.param(post(LENGTH).replace(b"host: gateway\r\n", b"host: gateway\r"), id="bare CR"),
        pytest.param(post(LENGTH, b"x: a\0b"), id="NUL in a header"),
        pytest.param(post(LENGTH, b"x\x80: a"), id="not a header name"),
        pytest.param(post(LENGTH).replace(b"host: gateway\r\n", b""), id="no Host"),
        pytest.param(post(LENGTH, b"host: other"), id="two Hosts"),
        pytest.param(post(LENGTH).replace(b"HTTP/1.1", b"HTTP/1.9"), id="unknown version"),
        pytest.param(post(LENGTH).replace(b"HTTP/1.1", b"HTTP/2.0"), id="wrong version"),
        pytest.param(post(LENGTH).replace(PATH.encode(), b"/a b"), id="space in the path"),
        pytest.param(post(LENGTH).replace(PATH.encode(), b"no-slash"), id="no slash"),
        pytest.param(post(LENGTH).replace(b"POST", b"P\x01ST"), id="not a method"),
        pytest.param(post(LENGTH, b"connection: upgrade", b"upgrade: websocket"), id="websocket"),
        pytest.param(post(LENGTH, b"connection: upgrade, http2-settings", b"upgrade: h2c"), id="h2c"),
        pytest.param(b"CONNECT evil:443 HTTP/1.1\r\nhost: evil:443\r\n\r\n", id="CONNECT"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 preface"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"GET " + b"/" * 40_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", id="long path"),
        pytest.param(post(LENGTH, b"x: " + b"y" * 40_000), id="long header"),
        pytest.param(post(LENGTH, *[b"x: y"] * 200), id="many headers"),
    ],
)
async def test_a_request_that_can_be_read_in_two_ways_is_refused_and_reaches_no_engine(
    start: Start, start_upstream: StartUpstream, data: bytes
) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    reply = await raw(gateway, data + SECOND)
    assert reply.status in (400, 431)
    assert reply.error["code"] in ("invalid_http", "head_too_large", "invalid_json")
    assert upstream.requests == []
    assert (await gateway.call("/livez")).status == 200


async def test_trailers_change_nothing(start: Start, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    body = CHUNKED[:-2] + b"authorization: Bearer other\r\nx-request-id: other\r\n\r\n"
    reply = await raw(gateway, post(b"transfer-encoding: chunked", b"connection: close", body=body))
    assert reply.status == 200
    assert reply.headers["x-request-id"] != "other"


@pytest.mark.parametrize(
    "host",
    [
        b"gateway/livez",
        b"gateway/v1/models?x=",
        b"user@gateway",
        b"gateway:80#",
        b"127.0.0.1:1/..",
        b"[::1]",
        b"",
        b"a" * 5000,
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("path", [b"/v1/models", PATH.encode()])
async def test_no_host_opens_a_route(
    start: Start, start_upstream: StartUpstream, host: bytes, path: bytes
) -> None:
    """CVE-2026-48710: auth looked at a URL made from Host, routing at the path."""
    upstream = await start_upstream()
    gateway = await start(upstream)
    method, length = (b"POST", LENGTH) if path == PATH.encode() else (b"GET", b"accept: */*")
    head = [b"%b %b HTTP/1.1" % (method, path), b"host: " + host, length, b"connection: close", b"", b""]
    reply = await raw(gateway, b"\r\n".join(head) + (BODY if method == b"POST" else b""))
    assert reply.status in (400, 401)
    assert upstream.requests == []


@pytest.mark.parametrize(
    "target",
    [
        b"http://elsewhere/v1/models",
        b"//elsewhere/v1/models",
        b"/v1/../v1/models",
        b"/v1/%2e%2e/v1/models",
        b"/livez/../v1/models",
        b"/v1/models/",
        b"/V1/models",
        b"/v1%2fmodels",
        b"/v1/models;x",
        b"/v1/models%00",
        b"/v1/models?key=sk-test",
    ],
)
async def test_no_spelling_of_a_path_passes_without_a_key(start: Start, target: bytes) -> None:
    gateway = await start()
    reply = await raw(gateway, b"GET %b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" % target)
    assert reply.status in (401, 404)
    assert b"m-sql" not in reply.body


async def test_every_route_of_an_engine_that_is_not_offered_is_a_404(
    start: Start, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    for path in (
        "/invocations",
        "/pause",
        "/resume",
        "/sleep",
        "/wake_up",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/reset_prefix_cache",
        "/collective_rpc",
        "/server_info",
        "/tokenizer_info",
        "/start_profile",
        "/scale_elastic_ep",
        "/inference/v1/generate",
        "/v1/chat/completions/render",
        "/v1/messages/render",
        "/v1/audio/transcriptions",
        "/pooling",
        "/score",
        "/rerank",
        "/v1/chat/completions/",
        "/v1/chat/completions/../../invocations",
    ):
        for method in ("POST", "GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
            reply = await gateway.call(path, chat() if method == "POST" else None, method=method)
            assert (reply.status, reply.error["code"]) == (404, "not_found"), (method, path)
    assert upstream.requests == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_is_a_405_in_the_envelope(start: Start, method: str) -> None:
    gateway = await start()
    reply = await gateway.call(PATH, method=method)
    assert (reply.status, reply.error["code"]) == (405, "method_not_allowed")
    assert reply.headers["allow"] == "POST"


async def test_a_head_that_comes_slowly_is_cut(start: Start) -> None:
    gateway = await start(head_timeout=0.1)
    async with connect(gateway.port) as client:
        await client.send(b"GET /livez HTTP/1.1\r\nhost: a\r\n")

        async def drip() -> None:
            while True:
                await client.send(b"x: y\r\n")
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        reply = await client.read_reply()
        dripping.cancel()
        assert (reply.status, reply.error["code"]) == (408, "request_timeout")


async def test_a_second_head_on_a_kept_connection_has_the_same_limit(start: Start) -> None:
    gateway = await start(head_timeout=0.1)
    async with connect(gateway.port) as client:
        await client.send(request("/livez", close=False))
        assert (await client.read_reply()).status == 200
        await client.send(b"GET /livez HTTP/1.1\r\nho")
        assert (await client.read_reply()).status == 408
        assert await client.at_end() == b""


async def test_a_connection_that_says_nothing_is_closed(start: Start) -> None:
    gateway = await start(head_timeout=0.05)
    async with connect(gateway.port) as client:
        assert await client.at_end() == b""
    await gateway.until(lambda: not gateway.server.server_state.connections)


async def test_an_unused_connection_is_closed(start: Start) -> None:
    gateway = await start(keep_alive=1)
    async with connect(gateway.port) as client:
        await client.send(request("/livez", close=False))
        await client.read_reply()
        assert await client.at_end() == b""


async def test_empty_lines_do_not_keep_a_connection(start: Start) -> None:
    gateway = await start(keep_alive=1)
    async with connect(gateway.port) as client:
        await client.send(request("/livez", close=False))
        await client.read_reply()
        await client.send(b"\r\n")
        assert await client.at_end() == b""


async def test_a_connection_is_kept_from_its_last_answer_on(
    start: Start, start_upstream: StartUpstream
) -> None:
    async def script(exchange: Exchange) -> None:
        await asyncio.sleep(1.2)  # Longer than a connection is kept: the time limit is met while it is busy.
        await behave(exchange)

    gateway = await start(await start_upstream(script), keep_alive=1)
    async with connect(gateway.port) as client:
        for _ in range(2):
            await client.send(request(PATH, chat(), close=False))
            assert (await client.read_reply()).status == 200
        assert await client.at_end() == b""


async def test_a_head_that_grows_over_many_packets_is_bounded(start: Start) -> None:
    gateway = await start()
    async with connect(gateway.port) as client:
        await client.send(b"GET /livez HTTP/1.1\r\nhost: a\r\nx: ")
        sent = 0
        while not client.reader.at_eof() and not client.writer.is_closing() and sent < 1_000_000:
            client.writer.write(b"y" * 1024)
            sent += 1024
            await asyncio.sleep(0)
        assert sent < 1_000_000
        await gateway.until(lambda: not gateway.server.server_state.connections)


async def test_a_body_over_the_bound_is_refused_before_it_is_sent(start: Start) -> None:
    gateway = await start(max_body=1024)
    async with connect(gateway.port) as client:
        await client.send(post(b"content-length: 1000000000", body=b""))
        reply = await client.read_reply()
        assert (reply.status, reply.error["code"]) == (413, "request_too_large")
        assert reply.headers["connection"] == "close"


async def test_a_body_that_grows_over_the_bound_is_refused_while_it_comes(start: Start) -> None:
    gateway = await start(max_body=1024)
    async with connect(gateway.port) as client:
        await client.send(post(b"transfer-encoding: chunked", body=b""))
        for _ in range(3):
            await client.send(b"200\r\n" + b"x" * 512 + b"\r\n")
        reply = await client.read_reply()
        assert reply.status == 413


async def test_a_body_that_comes_slowly_is_a_408(start: Start) -> None:
    gateway = await start(body_timeout=0.05)
    async with connect(gateway.port) as client:
        await client.send(post(LENGTH, body=b"{"))
        reply = await client.read_reply()
        assert (reply.status, reply.error["code"]) == (408, "request_timeout")
        assert await client.at_end() == b""


async def test_a_wrong_key_is_told_before_a_long_body_is_read(start: Start) -> None:
    gateway = await start()
    async with connect(gateway.port) as client:
        await client.send(post(b"content-length: 5000000", body=b"x").replace(b"sk-test", b"sk-wrong"))
        reply = await client.read_reply()
        assert reply.status == 401
        assert reply.headers["connection"] == "close"


async def test_expect_continue_is_answered_for_a_good_request_only(
    start: Start, start_upstream: StartUpstream
) -> None:
    gateway = await start(await start_upstream())
    async with connect(gateway.port) as client:
        await client.send(post(LENGTH, b"expect: 100-continue", body=b""))
        assert (await client.read_head())[0] == 100
        await client.send(BODY)
        assert (await client.read_reply()).status == 200
    async with connect(gateway.port) as client:
        await client.send(post(LENGTH, b"expect: 100-continue", body=b"").replace(b"sk-test", b"sk-wrong"))
        assert (await client.read_reply()).status == 401


async def test_a_client_that_closes_its_half_is_one_that_left(
    start: Start, start_upstream: StartUpstream
) -> None:
    gateway = await start(await start_upstream())
    async with connect(gateway.port) as client:
        await client.send(post(LENGTH, body=b"{"))
        client.writer.write_eof()
        assert await client.at_end() == b""
    await gateway.until(lambda: any(line.get("status") == 499 for line in gateway.log))


async def test_pipelined_requests_are_answered_in_turn(start: Start, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    async with connect(gateway.port) as client:
        await client.send(b"".join(request(PATH, chat(str(number)), close=False) for number in range(4)))
        for _ in range(4):
            assert (await client.read_reply()).status == 200
    assert [each.json["messages"][0]["content"] for each in upstream.requests] == ["0", "1", "2", "3"]


async def test_one_connection_too_many_gets_a_503(start: Start) -> None:
    gateway = await start(max_connections=2)
    async with connect(gateway.port), connect(gateway.port):
        await gateway.until(lambda: len(gateway.server.server_state.connections) == 2)
        async with connect(gateway.port) as third:
            reply = await third.read_reply()
            assert (reply.status, reply.error["code"]) == (503, "overloaded")
            assert "retry-after" in reply.headers
    await gateway.until(lambda: not gateway.server.server_state.connections)
    assert (await gateway.call("/livez")).status == 200


async def test_one_request_too_many_gets_a_503(start: Start, start_upstream: StartUpstream) -> None:
    async def hangs(exchange: object) -> None:
        await asyncio.Event().wait()

    upstream = await start_upstream(hangs)
    gateway = await start(upstream, max_requests=1)
    async with connect(gateway.port) as client:
        await client.send(request(PATH, chat()))
        await gateway.until(lambda: len(upstream.requests) == 1)
        reply = await gateway.call(PATH, chat())
        assert (reply.status, reply.error["code"]) == (503, "overloaded")
