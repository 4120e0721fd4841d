"""One record a request: what it says, and which requests leave one."""

import signal

from integration.awaiting import until
from integration.gateway.clients import call, connect, request
from integration.gateway.conftest import StartUpstream
from integration.gateway.upstreams import Exchange, chunk
from integration.usage.conftest import StartPlace, ask


async def test_a_record_says_who_asked_what_and_what_it_took(
    start_upstream: StartUpstream, place: StartPlace
) -> None:
    upstream = await start_upstream()
    there = place(upstream, key={"owner": "search"})
    port = there.start().port()

    reply = await ask(port)

    assert reply.status == 200
    (record,) = await there.recorded(1)
    told = {name: record[name] for name in ("key", "owner", "model", "served_model", "service", "endpoint")}
    assert told == {
        "key": "local",
        "owner": "search",
        "model": "m",
        "served_model": "m",
        "service": "m",
        "endpoint": upstream.address,
    }
    assert record["request_id"] == reply.headers["x-request-id"]
    assert (record["prompt_tokens"], record["completion_tokens"], record["cached_tokens"]) == (7, 2, 0)
    assert record["cost_nano"] == 7 * 500 + 2 * 1500
    assert (record["status"], record["error"], record["estimated"], record["attempts"]) == (200, "", False, 1)
    points = ("authenticated_us", "limited_us", "relayed_us", "sent_us", "answered_us", "total_us")
    times = [record[name] for name in points]
    assert times == sorted(times)
    assert times[0] > 0


async def test_every_way_to_end_leaves_one_record(start_upstream: StartUpstream, place: StartPlace) -> None:
    async def script(exchange: Exchange) -> None:
        if exchange.request.json["messages"][0]["content"] == "stall":
            await exchange.begin_stream()
            await exchange.event(chunk("Hel"))
            await exchange.closed_by_peer()
        else:
            exchange.abort()

    there = place(await start_upstream(script))
    port = there.start().port()

    async with connect(port) as connection:
        body = {"model": "m", "messages": [{"role": "user", "content": "stall"}], "stream": True}
        await connection.send(request("/v1/chat/completions", body))
        await connection.read_head()
        await connection.read_chunk()
    await there.recorded(1)
    await ask(port)
    await ask(port, temperature="hot")
    await ask(port, model="nothing")
    await call(port, "/v1/chat/completions", {}, key="sk-wrong")
    await call(port, "/v1/models")

    records = await there.recorded(4)
    assert [(each["status"], each["error"]) for each in records] == [
        (499, "client_left"),
        (502, "engine_closed"),
        (400, "invalid_value"),
        (404, "model_not_found"),
    ]
    left = records[0]
    assert left["estimated"]
    assert left["completion_tokens"] == 1
    assert left["prompt_tokens"] > 0
    metrics = (await call(port, "/metrics")).body.decode()
    assert "slipway_unauthenticated_requests_total 1.0" in metrics
    assert "slipway_usage_records_total 4.0" in metrics


async def test_a_fallback_is_recorded_as_what_answered(
    start_upstream: StartUpstream, place: StartPlace
) -> None:
    async def fail(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "out of memory"}}, 500)

    there = place(await start_upstream(fail))
    healthy = await start_upstream()
    there.state.service("n", pricing={"outputPerMillion": "4"})
    there.state.endpoints(m=[(await start_upstream(fail)).address], n=[healthy.address])
    there.state.route("fast", targets=[{"model": "m"}], fallbacks=["n"])
    port = there.start().port()

    assert (await ask(port, model="fast")).status == 200

    (record,) = await there.recorded(1)
    assert (record["model"], record["served_model"], record["service"]) == ("fast", "n", "n")
    assert (record["endpoint"], record["cost_nano"]) == (healthy.address, 2 * 4000)


async def test_a_gateway_that_ends_leaves_no_journal(
    start_upstream: StartUpstream, place: StartPlace
) -> None:
    there = place(await start_upstream())
    gateway = there.start()
    for _ in range(5):
        await ask(gateway.port())

    gateway.send(signal.SIGTERM)

    await until(lambda: not gateway.running, "the gateway's end")
    assert len(there.records()) == 5
    await there.journals_gone()


async def test_records_can_be_turned_off(start_upstream: StartUpstream, place: StartPlace) -> None:
    there = place(await start_upstream())
    port = there.start(usage=False).port()

    assert (await ask(port)).status == 200

    assert not (there.state.folder / "usage").exists()
    assert there.records() == []
