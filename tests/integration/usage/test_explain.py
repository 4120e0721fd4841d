"""`slipway explain` over real requests of a real gateway."""

import asyncio
import json
import subprocess
import sys

from integration.gateway.clients import call, chat
from integration.gateway.conftest import StartUpstream
from integration.gateway.upstreams import Exchange, behave
from integration.usage.conftest import StartPlace


def explain(port: int, request_id: str, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "slipway", "explain", request_id, *options]
    command += ["--url", f"http://127.0.0.1:{port}", "--api-key", "sk-test"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


async def test_a_request_is_explained_stage_by_stage(
    place: StartPlace, start_upstream: StartUpstream
) -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.2)
        await behave(exchange)

    there = place(await start_upstream(slow))
    port = await asyncio.to_thread(there.start().port)
    reply = await call(port, "/v1/chat/completions", chat(stream=True), headers={"x-request-id": "mine-1"})
    assert reply.status == 200
    await there.recorded(1)
    text = (await asyncio.to_thread(explain, port, "mine-1")).stdout
    assert "mine-1  /v1/chat/completions  streamed" in text
    assert "by       key local of default" in text
    stages = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if " ms" in line}
    assert stages["prefill"] >= 200
    assert stages["prefill"] <= stages["total"]
    assert set(stages) == {"auth", "limits", "queue", "prefill", "decode", "total"}
    assert "7 tokens in, 2 out, $0.0000065" in text
    as_json = json.loads((await asyncio.to_thread(explain, port, "mine-1", "-o", "json")).stdout)
    assert as_json["request_id"] == "mine-1"


async def test_a_failure_is_told_with_its_cause_and_the_next_step(
    place: StartPlace, start_upstream: StartUpstream
) -> None:
    async def broken(exchange: Exchange) -> None:
        exchange.abort()

    there = place(await start_upstream(broken))
    port = await asyncio.to_thread(there.start().port)
    await call(port, "/v1/chat/completions", chat(), headers={"x-request-id": "mine-2"})
    await there.recorded(1)
    text = (await asyncio.to_thread(explain, port, "mine-2")).stdout
    assert "engine_closed: The engine went away before it answered." in text
    assert "next: slipway status" in text


async def test_another_request_is_not_told(place: StartPlace, start_upstream: StartUpstream) -> None:
    there = place(await start_upstream())
    port = await asyncio.to_thread(there.start().port)
    done = await asyncio.to_thread(explain, port, "nobodys")
    assert done.returncode == 1
    assert "No request of yours with this id is recorded." in done.stderr
