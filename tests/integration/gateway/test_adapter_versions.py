"""Adapters that FineTunes bring to running engines: one name, several versions that share its requests."""

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from integration.gateway.clients import chat
from integration.gateway.conftest import Running, Start, StartUpstream
from integration.gateway.upstreams import Exchange, behave
from integration.usage.conftest import StartPlace, ask
from integration.usage.conftest import place as place  # A fixture.

CHAT = "/v1/chat/completions"


async def with_versions(
    start: Start, start_upstream: StartUpstream, *versions: tuple[str, str, int]
) -> tuple[Running, Counter[str]]:
    asked: Counter[str] = Counter()

    async def script(exchange: Exchange) -> None:
        asked[exchange.request.json["model"]] += 1
        await behave(exchange)

    running = await start(await start_upstream(script))
    running.state.adapters("m", *versions)
    await running.until(lambda: versions[0][0] in running.gateway.catalog.snapshot.models)
    return running, asked


async def counted(running: Running, outcome: str) -> dict[str, float]:
    text = (await running.call("/metrics", key=None)).body.decode()
    return {
        sample.labels["revision"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "slipway_revision_requests_total" and sample.labels["outcome"] == outcome
    }


async def test_versions_share_the_requests_for_a_name_by_weight(
    start: Start, start_upstream: StartUpstream
) -> None:
    running, asked = await with_versions(
        start, start_upstream, ("support", "support.v1", 75), ("support", "support.v2", 25)
    )

    for _ in range(80):
        reply = await running.call(CHAT, chat() | {"model": "support"})
        assert reply.status == 200
        assert reply.headers["x-slipway-model"] in asked

    assert set(asked) == {"support.v1", "support.v2"}
    assert 40 <= asked["support.v1"] < 80
    told = await counted(running, "ok")
    assert {version: told[version] for version in asked} == dict(asked)


async def test_a_session_stays_on_its_version(start: Start, start_upstream: StartUpstream) -> None:
    running, asked = await with_versions(start, start_upstream, ("s", "s.v1", 50), ("s", "s.v2", 50))
    for user in ("ann", "bob", "eve", "joe", "kim", "lea", "max", "ned"):
        before = asked.copy()
        for _ in range(5):
            await running.call(CHAT, chat() | {"model": "s", "user": user})
        assert sorted((asked - before).values()) == [5]
    assert set(asked) == {"s.v1", "s.v2"}


async def test_only_versions_that_are_ready_and_have_a_share_are_models(
    start: Start, start_upstream: StartUpstream
) -> None:
    running, asked = await with_versions(start, start_upstream, ("s", "s.v1", 100), ("s", "s.v2", 0))
    for _ in range(10):
        await running.call(CHAT, chat() | {"model": "s"})
    assert set(asked) == {"s.v1"}
    listed = (await running.call("/v1/models")).json["data"]
    assert {each["id"]: each["parent"] for each in listed}["s"] == "m"
    # Clients know the name alone.
    assert (await running.call(CHAT, chat() | {"model": "s.v1"})).status == 404

    running.state.adapters("m", ("s", "s.v1", 100), state="Loading")
    await running.until(lambda: "s" not in running.gateway.catalog.snapshot.models)
    assert (await running.call(CHAT, chat() | {"model": "s"})).status == 404


async def test_a_version_that_fails_is_counted_as_such(start: Start, start_upstream: StartUpstream) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "no"}}, 500)

    running = await start(await start_upstream(script))
    running.state.adapters("m", ("s", "s.v1", 100))
    await running.until(lambda: "s" in running.gateway.catalog.snapshot.models)
    assert (await running.call(CHAT, chat() | {"model": "s"})).status >= 500
    assert (await counted(running, "error"))["s.v1"] == 1


async def test_usage_says_which_version_answered(place: StartPlace, start_upstream: StartUpstream) -> None:
    there = place(await start_upstream())
    there.state.adapters("m", ("s", "s.v3", 100))
    port = there.start().port()
    assert (await ask(port, model="s")).status == 200
    record = (await there.recorded(1))[0]
    assert (record["model"], record["served_model"], record["revision"]) == ("s", "s", "s.v3")
