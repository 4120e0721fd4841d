"""Virtual models that ask several: a real gateway over engines that answer as they are told."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from openai import AsyncOpenAI

from integration.gateway.clients import chat, connect, request
from integration.gateway.conftest import Running, Start, StartUpstream
from integration.gateway.upstreams import CHAT, JUDGE_USAGE, JUDGED, Exchange
from integration.usage.conftest import StartPlace
from integration.usage.conftest import place as place  # A fixture.

PATH = "/v1/chat/completions"
Saying = Callable[[Exchange], Awaitable[None]]


def completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {**CHAT, "choices": [choice]}


def says(text: str) -> Saying:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(completion(text))

    return script


def fails(status: int = 500) -> Saying:
    async def script(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "no", "type": "x", "param": None, "code": "x"}}, status)

    return script


async def never(exchange: Exchange) -> None:
    await exchange.closed_by_peer()


def labels(*rows: list[float]) -> Saying:
    async def script(exchange: Exchange) -> None:
        data = [
            {"index": at, "label": "AB"[row.index(max(row))], "probs": row, "num_classes": len(row)}
            for at, row in enumerate(rows)
        ]
        await exchange.answer({**JUDGED, "data": data, "usage": JUDGE_USAGE})

    return script


def likes(wanted: str) -> Saying:
    """A scorer that likes one text."""

    async def script(exchange: Exchange) -> None:
        texts = exchange.request.json["text_2"]
        data = [
            {"index": at, "object": "score", "score": float(text == wanted)} for at, text in enumerate(texts)
        ]
        await exchange.answer({**JUDGED, "data": data, "usage": JUDGE_USAGE})

    return script


async def ensemble(
    start: Start,
    start_upstream: StartUpstream,
    members: dict[str, Saying],
    *,
    task: str = "generate",
    judge: Saying | None = None,
    weights: dict[str, int] | None = None,
    key: dict[str, Any] | None = None,
    **spec: Any,
) -> Running:
    running = await start(key=key)
    endpoints = {}
    for name, script in members.items():
        running.state.service(name, task=task)
        endpoints[name] = [(await start_upstream(script)).address]
    if judge is not None:
        running.state.service("judge", task="score")
        endpoints["judge"] = [(await start_upstream(judge)).address]
        spec["scorer"] = "judge"
    running.state.endpoints(**endpoints)
    targets = [{"model": name, "weight": (weights or {}).get(name, 1)} for name in members]
    running.state.route("several", targets=targets, ensemble=spec)
    await running.until(
        lambda: (
            "several" in running.gateway.catalog.snapshot.routes
            and all(running.gateway.catalog.snapshot.models[name].ready for name in endpoints)
        )
    )
    return running


def said(reply: Any) -> str:
    assert reply.status == 200, reply
    return str(reply.json["choices"][0]["message"]["content"])


async def test_the_answer_of_most_members_wins(start: Start, start_upstream: StartUpstream) -> None:
    members = {"a": says("No"), "b": says("Yes."), "c": says("yes")}
    running = await ensemble(start, start_upstream, members, strategy="vote")
    reply = await running.call(PATH, chat() | {"model": "several"})
    assert said(reply) == "Yes."
    assert reply.json["model"] == "several"
    told = reply.json["ensemble"]
    assert (told["strategy"], told["winner"]) == ("vote", "b")
    assert [each["model"] for each in told["members"]] == ["a", "b", "c"]


async def test_weights_count_as_votes(start: Start, start_upstream: StartUpstream) -> None:
    members = {"a": says("no"), "b": says("yes"), "c": says("yes")}
    running = await ensemble(start, start_upstream, members, strategy="vote", weights={"a": 3})
    reply = await running.call(PATH, chat() | {"model": "several"})
    assert said(reply) == "no"
    assert reply.json["usage"]["total_tokens"] % 9 == 0


async def test_json_votes_by_its_content(start: Start, start_upstream: StartUpstream) -> None:
    members = {"a": says('{"x": 2}'), "b": says('{"x": 1, "y": 2}'), "c": says('{"y":2,"x":1}')}
    running = await ensemble(start, start_upstream, members, strategy="vote")
    assert json.loads(said(await running.call(PATH, chat() | {"model": "several"}))) == {"x": 1, "y": 2}


async def test_a_member_that_fails_does_not_fail_the_answer_while_a_quorum_is_left(
    start: Start, start_upstream: StartUpstream
) -> None:
    members = {"a": fails(), "b": says("yes"), "c": says("yes")}
    running = await ensemble(start, start_upstream, members, strategy="vote")
    reply = await running.call(PATH, chat() | {"model": "several"})
    assert said(reply) == "yes"
    errors = {each["model"]: each["error"] for each in reply.json["ensemble"]["members"]}
    assert (errors["b"], errors["c"]) == (None, None)
    # It may have been left out before it failed: two of three have decided.
    assert errors["a"] is not None


async def test_without_a_quorum_there_is_no_answer(start: Start, start_upstream: StartUpstream) -> None:
    members = {"a": fails(), "b": fails(), "c": says("yes")}
    running = await ensemble(start, start_upstream, members, strategy="vote")
    reply = await running.call(PATH, chat() | {"model": "several"})
    assert (reply.status, reply.error["code"]) == (503, "model_not_ready")
    assert "1 of the models" in reply.error["message"]


async def test_the_clients_mistake_is_told_as_such(start: Start, start_upstream: StartUpstream) -> None:
    members = {"a": says("x"), "b": says("y")}
    running = await ensemble(start, start_upstream, members, strategy="vote")
    reply = await running.call(PATH, chat() | {"model": "several", "temperature": 99})
    assert (reply.status, reply.error["param"]) == (400, "temperature")
    two = await running.call(PATH, chat() | {"model": "several", "n": 2})
    assert (two.status, two.error["param"]) == (400, "n")
    other = await running.call("/v1/embeddings", {"model": "several", "input": "x"})
    assert (other.status, other.error["code"]) == (400, "not_offered")


async def test_a_slow_member_is_left_out_once_the_others_have_decided(
    start: Start, start_upstream: StartUpstream
) -> None:
    members = {"a": never, "b": says("yes"), "c": says("yes")}
    running = await ensemble(start, start_upstream, members, strategy="vote", patience="300s")
    reply = await running.call(PATH, chat() | {"model": "several"})
    assert said(reply) == "yes"
    assert {each["model"]: each["error"] for each in reply.json["ensemble"]["members"]}["a"] == "left_out"


async def test_patience_ends_the_wait_for_a_slow_member(start: Start, start_upstream: StartUpstream) -> None:
    members = {"a": never, "b": says("no"), "c": says("yes")}
    running = await ensemble(start, start_upstream, members, strategy="vote", patience="1s")
    assert said(await running.call(PATH, chat() | {"model": "several"})) == "no"


async def test_leaving_ends_every_members_work(start: Start, start_upstream: StartUpstream) -> None:
    gone = asyncio.Event()
    working = 0

    async def script(exchange: Exchange) -> None:
        nonlocal working
        working += 1
        await exchange.closed_by_peer()
        working -= 1
        if not working:
            gone.set()

    running = await ensemble(start, start_upstream, {"a": script, "b": script}, strategy="vote")
    async with connect(running.port) as connection:
        await connection.send(request(PATH, chat() | {"model": "several"}))
        await running.until(lambda: working == 2)
    await gone.wait()


async def test_probabilities_are_averaged(start: Start, start_upstream: StartUpstream) -> None:
    members = {"a": labels([0.9, 0.1]), "b": labels([0.2, 0.8]), "c": labels([0.2, 0.8])}
    running = await ensemble(start, start_upstream, members, task="classify", strategy="average")
    reply = await running.call("/v1/classify", {"model": "several", "input": "x"})
    (item,) = reply.json["data"]
    assert item["label"] == "B"
    assert item["probs"] == pytest.approx([1.3 / 3, 1.7 / 3])
    assert reply.json["usage"]["total_tokens"] == 12


async def test_the_scorer_chooses_the_best(start: Start, start_upstream: StartUpstream) -> None:
    members = {"a": says("long and wrong"), "b": says("right"), "c": says("odd")}
    running = await ensemble(start, start_upstream, members, judge=likes("right"), strategy="best")
    reply = await running.call(PATH, chat() | {"model": "several"})
    assert said(reply) == "right"
    told = reply.json["ensemble"]
    assert (told["winner"], [each["score"] for each in told["members"]]) == ("b", [0.0, 1.0, 0.0])


async def test_without_its_scorer_the_heaviest_member_answers(
    start: Start, start_upstream: StartUpstream
) -> None:
    members = {"a": says("one"), "b": says("two")}
    running = await ensemble(start, start_upstream, members, judge=fails(), strategy="best", weights={"b": 2})
    reply = await running.call(PATH, chat() | {"model": "several"})
    assert said(reply) == "two"
    assert reply.json["ensemble"]["scorer_error"] == "engine_failed"


async def test_a_stream_is_one_chunk(start: Start, start_upstream: StartUpstream) -> None:
    members = {"a": says("yes"), "b": says("yes")}
    running = await ensemble(start, start_upstream, members, strategy="vote")
    async with AsyncOpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key="sk-test") as client:
        stream = await client.chat.completions.create(
            model="several",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].delta.content for chunk in chunks if chunk.choices] == ["yes"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 18


async def test_other_apis_get_the_ensembles_answer_too(start: Start, start_upstream: StartUpstream) -> None:
    members = {"a": says("yes"), "b": says("yes")}
    running = await ensemble(start, start_upstream, members, strategy="vote")
    await running.until(lambda: running.gateway.database.migrated)
    made = await running.call("/v1/responses", {"model": "several", "input": "hi", "store": False})
    assert made.status == 200, made
    assert made.json["output"][0]["content"][0]["text"] == "yes"
    asked = {"model": "several", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    said = await running.call("/v1/messages", asked)
    assert said.json["content"][0]["text"] == "yes"


async def test_a_key_needs_to_be_let_to_the_ensembles_name_alone(
    start: Start, start_upstream: StartUpstream
) -> None:
    members = {"a": says("yes"), "b": says("yes")}
    running = await ensemble(start, start_upstream, members, strategy="vote", key={"models": ["several"]})
    assert said(await running.call(PATH, chat() | {"model": "several"})) == "yes"
    assert (await running.call(PATH, chat() | {"model": "a"})).status == 404
    running.state.key("other", "sk-other", models=["a"])
    await running.until(lambda: len(running.gateway.catalog.snapshot.keyring.keys) == 2)
    assert (await running.call(PATH, chat() | {"model": "several"}, key="sk-other")).status == 404


async def test_limits_count_every_member(start: Start, start_upstream: StartUpstream) -> None:
    members = {"a": says("yes"), "b": says("no"), "c": says("yes")}
    running = await ensemble(
        start, start_upstream, members, strategy="vote", key={"limits": {"requestsPerMinute": 4}}
    )
    assert said(await running.call(PATH, chat() | {"model": "several"})) == "yes"
    # One of three fits: no quorum, and the limit is what the client is told of.
    refused = await running.call(PATH, chat() | {"model": "several"})
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")


async def test_it_is_ready_while_a_quorum_can_serve(start: Start, start_upstream: StartUpstream) -> None:
    members = {"a": says("yes"), "b": says("yes"), "c": says("yes")}
    running = await ensemble(start, start_upstream, members, strategy="vote")

    async def ready() -> bool:
        listed = (await running.call("/v1/models")).json["data"]
        return bool({each["id"]: each["ready"] for each in listed}["several"])

    assert await ready()
    addresses = {name: running.gateway.catalog.snapshot.models[name].ready[0] for name in members}
    running.state.endpoints(a=[addresses["a"]])
    await running.until(lambda: not running.gateway.catalog.snapshot.models["c"].ready)
    assert not await ready()


async def test_each_member_leaves_a_record_under_the_clients_request(
    place: StartPlace, start_upstream: StartUpstream
) -> None:
    there = place()
    addresses = {}
    for name in ("x", "y"):
        there.state.service(name)
        addresses[name] = [(await start_upstream(says("yes"))).address]
    there.state.endpoints(**addresses)
    there.state.route(
        "several", targets=[{"model": name} for name in addresses], ensemble={"strategy": "vote"}
    )
    port = there.start().port()
    async with connect(port) as connection:
        await connection.send(request(PATH, chat() | {"model": "several"}, headers={"x-request-id": "mine"}))
        assert said(await connection.read_reply()) == "yes"
    records = await there.recorded(2)
    assert sorted(record["served_model"] for record in records) == ["x", "y"]
    assert {record["model"] for record in records} == {"several"}
    assert {record["request_id"] for record in records} == {"mine"}
    assert sum(record["completion_tokens"] for record in records) == 4
