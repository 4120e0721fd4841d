"""What a caller sees: keys, models, limits, field errors, health, metrics, logs, the console."""

import asyncio
import dataclasses
import io
import json
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.exceptions import HTTPException

from integration.gateway.clients import chat, connect, request
from integration.gateway.conftest import Running, Start, StartUpstream
from integration.gateway.upstreams import CHAT, Exchange, behave
from slipway.gateway.api import readiness
from slipway.gateway.catalog import Catalog
from slipway.gateway.console_files import ConsoleFiles

PATH = "/v1/chat/completions"


@pytest.mark.parametrize("path", [PATH, "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize"])
@pytest.mark.parametrize(
    "key", [None, "wrong", "sk-test2", "'; DROP TABLE keys; --", "x" * 10_000, "schl\xfcssel"]
)
async def test_every_relayed_route_asks_for_a_key(start: Start, path: str, key: str | None) -> None:
    gateway = await start()
    reply = await gateway.call(path, {"model": "m"}, key=key)
    assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m"])
async def test_models_ask_for_a_key(start: Start, path: str) -> None:
    gateway = await start()
    assert (await gateway.call(path, key=None)).error["code"] == "invalid_api_key"
    assert (await gateway.call(path)).status == 200


async def test_two_keys_are_refused(start: Start) -> None:
    gateway = await start()
    for path, body in ((PATH, chat()), ("/v1/models", None)):
        reply = await gateway.call(path, body, headers={"Authorization": "Bearer sk-test"})
        assert (reply.status, reply.error["code"]) == (400, "ambiguous_credentials")


async def test_a_model_that_a_key_may_not_use_is_as_one_that_does_not_exist(
    start: Start, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream, key={"models": ["m"]})
    listed = (await gateway.call("/v1/models")).json["data"]
    applied = min(path.stat().st_mtime for path in (gateway.state.folder / "objects").iterdir())
    assert all(int(applied) <= model["created"] <= time.time() for model in listed)
    assert [model["id"] for model in listed] == ["m"]
    for path, body in ((PATH, chat(model="NAME")), ("/v1/models/NAME", None)):
        answers = []
        for name in ("m-sql", "m-xyz"):
            filled = json.loads(json.dumps(body).replace("NAME", name))
            reply = await gateway.call(path.replace("NAME", name), filled)
            assert (reply.status, reply.error["code"], reply.error["param"]) == (
                404,
                "model_not_found",
                "model",
            )
            answers.append(reply.body.replace(name.encode(), b"NAME"))
        assert answers[0] == answers[1]
    assert upstream.requests == []


async def test_keys_are_taken_up_and_dropped_without_a_restart(
    start: Start, start_upstream: StartUpstream
) -> None:
    gateway = await start(await start_upstream())
    assert (await gateway.call(PATH, chat(), key="sk-new")).status == 401
    gateway.state.key("new", "sk-new")
    await gateway.until(lambda: len(gateway.gateway.catalog.snapshot.keyring.keys) == 2)
    assert (await gateway.call(PATH, chat(), key="sk-new")).status == 200
    gateway.state.key("new", "sk-new", disabled=True)
    await gateway.until(
        lambda: any(each.disabled for each in gateway.gateway.catalog.snapshot.keyring.keys.values())
    )
    assert (await gateway.call(PATH, chat(), key="sk-new")).status == 401


async def test_a_known_model_without_an_engine_says_when_to_come_back(start: Start) -> None:
    gateway = await start()
    reply = await gateway.call(PATH, chat())
    assert (reply.status, reply.error["code"]) == (503, "model_not_ready")
    assert int(reply.headers["retry-after"]) >= 1
    gateway.state.endpoints(m=["!127.0.0.1:1"])
    await gateway.until(lambda: gateway.gateway.catalog.snapshot.models["m"].endpoints == 1)
    assert "starting" in (await gateway.call(PATH, chat())).error["message"]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"", None, "invalid_json"),
        (b"{", None, "invalid_json"),
        (b"[]", None, "invalid_json"),
        (b"null", None, "invalid_json"),
        (b'{"model": NaN}', None, "invalid_json"),
        (b'{"model": "\xff"}', None, "invalid_json"),
        (b"[" * 100_000, None, "invalid_json"),
        ({}, "model", "missing_required_parameter"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 3}, "model", "invalid_type"),
        ({"model": ["m"]}, "model", "invalid_type"),
        ({"model": "m"}, "messages", "missing_required_parameter"),
        ({"model": "m", "messages": []}, "messages", "invalid_value"),
        ({"model": "m", "messages": None}, "messages", "missing_required_parameter"),
        (chat(n="1"), "n", "invalid_value"),
        (chat(unheard_of=1), "unheard_of", "unknown_parameter"),
        (chat(stream_options={"include_usage": True}), "stream_options", "invalid_value"),
        (chat(model="e"), "model", "wrong_task"),
    ],
)
async def test_wrong_fields_are_named(
    start: Start, start_upstream: StartUpstream, body: object, param: str | None, code: str
) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    reply = await gateway.call(PATH, body)
    assert reply.status == 400
    assert (reply.error["param"], reply.error["code"]) == (param, code)
    assert upstream.requests == []


async def test_deep_json_is_refused_without_harm(start: Start, start_upstream: StartUpstream) -> None:
    gateway = await start(await start_upstream())
    deep: Any = "x"
    for _ in range(400):
        deep = [deep]
    arguments = chat() | {
        "messages": [
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "1", "extra": deep, "function": {"name": "f", "arguments": "{}"}}],
            }
        ]
    }
    reply = await gateway.call(PATH, arguments)
    assert (reply.status, reply.error["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"content-encoding": "gzip"}, "unsupported_content_encoding"), ({"Content-Type": "x"}, "invalid_json")],
)
async def test_bodies_in_other_forms(start: Start, headers: dict[str, str], code: str) -> None:
    gateway = await start()
    reply = await gateway.call(PATH, b"\x1f\x8b", headers=headers)
    assert reply.status == 400
    assert reply.error["code"] in (code, "unsupported_content_type")


async def test_of_a_key_given_twice_the_engine_sees_what_was_checked(
    start: Start, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream, key={"models": ["m"]})
    body = b'{"model":"m-sql","messages":[{"role":"user","content":"a"}],"n":1,"model":"m","n":2}'
    assert (await gateway.call(PATH, body)).status == 200
    assert upstream.requests[0].body.count(b'"model"') == 1
    assert upstream.requests[0].json["model"] == "m"
    other = body.replace(b'"m-sql"', b'"m"', 1).replace(b'"model":"m","n":2', b'"model":"m-sql","n":2')
    assert (await gateway.call(PATH, other)).status == 404


async def test_the_other_routes(start: Start, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    for path, body in (
        ("/v1/completions", {"model": "m", "prompt": "a"}),
        ("/v1/embeddings", {"model": "e", "input": ["a", "b"]}),
        ("/tokenize", {"model": "m", "prompt": "a"}),
        ("/tokenize", {"model": "e", "prompt": "a"}),
        ("/detokenize", {"model": "m", "tokens": [1]}),
    ):
        assert (await gateway.call(path, body)).status == 200, path
    assert [each.target for each in upstream.requests] == [
        "/v1/completions",
        "/v1/embeddings",
        "/tokenize",
        "/tokenize",
        "/detokenize",
    ]
    assert (await gateway.call("/v1/embeddings", {"model": "m", "input": "a"})).error["code"] == "wrong_task"
    assert (await gateway.call("/tokenize", {"model": "m"})).status == 400


async def test_requests_a_minute(start: Start, start_upstream: StartUpstream) -> None:
    gateway = await start(await start_upstream(), key={"limits": {"requestsPerMinute": 2}})
    left = []
    for _ in range(2):
        reply = await gateway.call(PATH, chat())
        assert reply.status == 200
        left.append(reply.headers["x-ratelimit-remaining-requests"])
    assert left == ["1", "0"]
    refused = await gateway.call(PATH, chat())
    assert (refused.status, refused.error["code"], refused.error["type"]) == (
        429,
        "rate_limit_exceeded",
        "requests",
    )
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert int(refused.headers["retry-after-ms"]) <= 61_000
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    # A wrong request is told what is wrong with it, limit or not.
    assert (await gateway.call(PATH, chat(n=99))).status == 400


@pytest.mark.parametrize("stream", [True, False])
async def test_tokens_are_settled_to_what_was_used(
    start: Start, start_upstream: StartUpstream, stream: bool
) -> None:
    gateway = await start(await start_upstream(), key={"limits": {"tokensPerMinute": 1000}})
    first = await gateway.call(PATH, chat(max_tokens=500, stream=stream))
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 500
    second = await gateway.call(PATH, chat(max_tokens=1, stream=stream))
    # 9 tokens were used by the first call; the second reserves a few.
    assert 970 < int(second.headers["x-ratelimit-remaining-tokens"]) < 991


async def test_a_failed_call_uses_no_tokens(start: Start, start_upstream: StartUpstream) -> None:
    async def fail(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "no"}}, 500)

    upstream = await start_upstream(fail)
    gateway = await start(upstream, key={"limits": {"tokensPerMinute": 1000}})
    assert (await gateway.call(PATH, chat(max_tokens=900))).status == 502
    upstream.script = behave
    assert (await gateway.call(PATH, chat(max_tokens=900))).status == 200


async def test_leaving_does_not_make_tokens_free(start: Start, start_upstream: StartUpstream) -> None:
    arrived = asyncio.Event()

    async def hangs(exchange: Exchange) -> None:
        arrived.set()
        await exchange.closed_by_peer()

    upstream = await start_upstream(hangs)
    gateway = await start(upstream, key={"limits": {"tokensPerMinute": 1000}})
    async with connect(gateway.port) as client:
        await client.send(request(PATH, chat(max_tokens=900)))
        await arrived.wait()
    await gateway.until(lambda: gateway.gateway.serving.in_flight == 0)
    assert (await gateway.call(PATH, chat(max_tokens=900))).status == 429


async def test_a_call_larger_than_the_limit_is_told_at_once(
    start: Start, start_upstream: StartUpstream
) -> None:
    gateway = await start(await start_upstream(), key={"limits": {"tokensPerMinute": 100}})
    reply = await gateway.call(PATH, chat(max_tokens=200))
    assert (reply.status, reply.error["code"]) == (400, "request_too_large_for_limit")
    assert (await gateway.call(PATH, chat())).status == 200


async def test_requests_in_flight(start: Start, start_upstream: StartUpstream) -> None:
    release = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await release.wait()
        await exchange.answer(CHAT)

    upstream = await start_upstream(script)
    gateway = await start(upstream, key={"limits": {"maxParallel": 2}})
    calls = [asyncio.create_task(gateway.call(PATH, chat())) for _ in range(2)]
    await gateway.until(lambda: len(upstream.requests) == 2)
    refused = await gateway.call(PATH, chat())
    assert (refused.status, refused.error["type"]) == (429, "parallel")
    assert "retry-after" in refused.headers
    release.set()
    assert [reply.status for reply in await asyncio.gather(*calls)] == [200, 200]
    assert (await gateway.call(PATH, chat())).status == 200


async def test_readiness_tells_the_truth_about_models(start: Start, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    gateway = await start()
    reply = await gateway.call("/readyz", key=None)
    assert (reply.status, reply.json["reason"]) == (503, "no model has a ready engine")
    assert "retry-after" in reply.headers
    gateway.state.endpoints(m=[upstream.address])
    await gateway.until(lambda: bool(gateway.gateway.catalog.snapshot.addresses))
    reply = await gateway.call("/readyz", key=None)
    assert reply.status == 200
    assert {model["name"]: model["ready"] for model in reply.json["models"]} == {
        "e": False,
        "m": True,
        "m-sql": True,
    }
    assert upstream.address not in reply.body.decode()
    gateway.gateway.draining = True
    assert (await gateway.call("/readyz", key=None)).status == 503
    assert (await gateway.call("/livez", key=None)).status == 200


@pytest.mark.parametrize("on_cluster", [False, True])
def test_a_gateway_that_has_read_nothing_is_not_ready(on_cluster: bool) -> None:
    ready, body = readiness(Catalog(), draining=False, on_cluster=on_cluster)
    assert (ready, body["reason"]) == (False, "the objects have not been read yet")


def test_on_a_cluster_a_gateway_without_a_model_is_ready_until_it_drains() -> None:
    catalog = Catalog()
    catalog.swap(dataclasses.replace(catalog.snapshot, loaded=True))
    assert not readiness(catalog, draining=False)[0]
    assert readiness(catalog, draining=False, on_cluster=True)[0]
    assert not readiness(catalog, draining=True, on_cluster=True)[0]


async def samples(gateway: Running) -> dict[str, float]:
    reply = await gateway.call("/metrics", key=None)
    return {
        sample.name
        + "".join(f"|{value}" for name, value in sorted(sample.labels.items()) if name != "le"): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


async def test_metrics_add_up(start: Start, start_upstream: StartUpstream) -> None:
    gateway = await start(await start_upstream())
    for _ in range(3):
        await gateway.call(PATH, chat(stream=True))
    await gateway.call(PATH, chat())
    await gateway.call(PATH, chat(model='evil\n"name'))
    await gateway.call(PATH, chat(model="another"))
    found = await samples(gateway)
    assert found["slipway_requests_total|m|/v1/chat/completions|200"] == 4
    assert found["slipway_requests_total|unknown|/v1/chat/completions|404"] == 2
    assert found["slipway_tokens_total|m|input"] == 28
    assert found["slipway_tokens_total|m|output"] == 8
    assert found["gen_ai_server_time_to_first_token_seconds_count|chat|slipway|m"] == 3
    assert found["gen_ai_server_time_per_output_token_seconds_count|chat|slipway|m"] == 3
    assert found["gen_ai_client_token_usage_sum|chat|slipway|m|input"] == 28
    assert found["gen_ai_server_request_duration_seconds_count||chat|slipway|m"] == 4
    assert found["slipway_requests_in_flight"] == 0
    assert found["slipway_model_ready_endpoints|m"] == 1


async def test_labels_are_bounded(start: Start) -> None:
    gateway = await start()
    before = len(await samples(gateway))
    for number in range(50):
        await gateway.call(PATH, chat(model=f"model-{number}"))
    after = len(await samples(gateway))
    for number in range(50):
        await gateway.call(PATH, chat(model=f"more-{number}"))
    assert len(await samples(gateway)) == after
    assert after - before < 50


async def test_every_request_has_one_line_without_prompt_or_key(
    start: Start, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    await gateway.call(PATH, chat("a secret prompt"), headers={"x-request-id": "id-1"})
    await gateway.call(PATH, chat("a secret prompt"), key="wrong", headers={"x-request-id": "id-2"})
    await gateway.call(PATH, chat("a secret prompt", n=99), headers={"x-request-id": "id-3"})
    lines = [line for line in gateway.log if line["event"] == "request"]
    assert [(line["request_id"], line["key"], line["model"], line["status"]) for line in lines] == [
        ("id-1", "local", "m", 200),
        ("id-2", None, "unknown", 401),
        ("id-3", "local", "m", 400),
    ]
    assert lines[0]["endpoint"] == upstream.address
    text = gateway.output.getvalue()
    assert "secret" not in text
    assert "sk-test" not in text


async def test_a_fault_behind_the_front_door_is_an_envelope_too(start: Start) -> None:
    gateway = await start()

    def broken() -> bytes:
        raise RuntimeError("secret detail")

    gateway.gateway.metrics.scrape = broken  # type: ignore[method-assign]
    reply = await gateway.call("/metrics", key=None)
    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    assert b"secret" not in reply.body
    gateway.gateway.log.flush()
    assert "secret detail" in gateway.output.getvalue()
    gateway.output.seek(0)
    gateway.output.truncate()


async def test_the_engines_key_is_optional_and_taken_up(start: Start, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    gateway.state.write("secrets/engine-key", "another\n")
    await gateway.until(lambda: gateway.gateway.engine_key.value == b"another")
    await gateway.call(PATH, chat())
    assert upstream.requests[-1].headers["authorization"] == "Bearer another"
    gateway.state.remove("secrets/engine-key")
    await gateway.until(lambda: gateway.gateway.engine_key.value == b"")
    await gateway.call(PATH, chat())
    assert "authorization" not in upstream.requests[-1].headers


async def test_a_page_is_served_with_its_policy_and_nothing_beside_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "js").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "js" / "app.js").write_text("1")
    (tmp_path / ".secret").write_text("x")
    (tmp_path.parent / "beside.txt").write_text("x")
    console = ConsoleFiles(tmp_path)

    async def get(path: str, method: str = "GET") -> tuple[int, dict[str, str]]:
        messages: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}
        try:
            await console(scope, receive, send)
        except HTTPException as error:
            return error.status_code, {}
        return messages[0]["status"], {key.decode(): value.decode() for key, value in messages[0]["headers"]}

    for path in ("/", "/index.html", "/js/app.js"):
        status, headers = await get(path)
        assert status == 200
        policy = headers["content-security-policy"].split("; ")
        assert policy[0] == "default-src 'none'"
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert not any("unsafe" in each for each in policy)
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-cache"
    for path in (
        "/../beside.txt",
        "/js/../../beside.txt",
        "/.secret",
        "/js",
        "/none",
        "/\0",
        "/v1/index.html",
        "//etc/passwd",
    ):
        assert (await get(path))[0] == 404, path
    assert (await get("/", "POST"))[0] == 404


async def test_paths_out_of_the_consoles_folder_are_a_404(start: Start) -> None:
    gateway = await start()
    for path in ("/../../settings.py", "/%2e%2e/api.py", "/..%2fapi.py", "/.git/config", "/%00"):
        reply = await gateway.call(path, key=None)
        assert (reply.status, reply.error["code"]) == (404, "not_found"), path


async def test_no_other_site_may_call_unless_it_is_named(start: Start, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    closed = await start(upstream)
    reply = await closed.call(PATH, chat(), headers={"origin": "https://a.example"})
    assert "access-control-allow-origin" not in reply.headers
    opened = await start(upstream, cors_origins=("https://a.example",))
    for origin, allowed in (("https://a.example", True), ("https://b.example", False)):
        reply = await opened.call(PATH, chat(), headers={"origin": origin})
        assert reply.status == 200
        assert ("access-control-allow-origin" in reply.headers) is allowed


async def test_a_fault_of_the_gateway_is_an_envelope_and_a_log_line(
    start: Start, start_upstream: StartUpstream
) -> None:
    class Broken:
        async def reserve(self, *args: object) -> None:
            raise RuntimeError("secret detail")

        async def settle(self, *args: object) -> None: ...

    gateway = await start(await start_upstream(), key={"limits": {"requestsPerMinute": 1}})
    gateway.gateway.serving.limits = Broken()  # type: ignore[assignment]
    reply = await gateway.call(PATH, chat())
    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    assert b"secret" not in reply.body
    (line,) = [line for line in gateway.log if line["event"] == "failed"]
    assert line["request_id"] == reply.headers["x-request-id"]
    gateway.gateway.log.flush()
    gateway.output.seek(0)
    gateway.output.truncate()


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    from slipway.gateway.logs import JSONLog

    stream = io.StringIO()
    stream.close()
    JSONLog(stream).write("info", "x", "y")
