"""`slipway usage` and its receipt, over real gateways under load, as a platform engineer runs it."""

import asyncio
import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from integration.gateway.clients import call
from integration.gateway.conftest import StartUpstream
from integration.servers import Postgres
from integration.usage import seeds
from integration.usage.conftest import Place, StartPlace, ask
from slipway.gateway.usage.tables import usage_days, usage_records


async def slipway(there: Place, *arguments: str, **more: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
    environment |= {
        "SLIPWAY_STATE": str(there.state.folder),
        "SLIPWAY_GATEWAY_DATABASE_URL": there.url,
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "slipway", "usage", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


def addresses(ports: Sequence[int]) -> list[str]:
    return [argument for port in ports for argument in ("--metrics", f"http://127.0.0.1:{port}/metrics")]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_the_receipt_agrees_while_two_gateways_are_under_load(
    request: pytest.FixtureRequest, start_upstream: StartUpstream, place: StartPlace, kind: str
) -> None:
    url = None if kind == "sqlite" else str(request.getfixturevalue("postgres"))
    there = place(await start_upstream(), url=url)
    ports = [there.open(), there.open()]
    stop = asyncio.Event()

    async def load(port: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            await ask(port, stream=number % 2 == 0)
            if number % 5 == 0:
                await ask(port, model="nothing")
                await call(port, "/v1/embeddings", {"model": "e", "input": "a"}, key="sk-boss")
                await call(port, "/v1/chat/completions", {}, key="sk-wrong")

    running = [asyncio.create_task(load(port)) for port in ports * 2]
    receipts = [await slipway(there, "--verify", "-o", "json", *addresses(ports)) for _ in range(3)]
    stop.set()
    await asyncio.gather(*running)

    for code, output, errors in receipts:
        receipt = json.loads(output)
        assert (code, receipt["agrees"]) == (0, True), (receipt, errors)
        sources = [line["source"].split(" ")[0] for line in receipt["lines"]]
        assert sources == ["total", "sum", "sum", "records", *("recorded", "Prometheus") * 2]
        assert receipt["lines"][-1]["requests"] > 0
    counts = [json.loads(output)["lines"][0]["requests"] for _, output, _ in receipts]
    assert counts == sorted(set(counts))


async def test_a_record_too_few_is_found_and_named(start_upstream: StartUpstream, place: StartPlace) -> None:
    there = place(await start_upstream())
    port = there.open()
    for _ in range(3):
        await ask(port)
    await there.recorded(3)
    with there.engine.begin() as connection:
        connection.execute(update(usage_days).values(prompt_tokens=usage_days.c.prompt_tokens - 7))

    code, output, _ = await slipway(there, "--verify", *addresses([port]))

    assert code == 1
    assert "✗ +7 prompt tokens, on " in output
    (prometheus,) = [line for line in output.splitlines() if line.startswith("Prometheus")]
    assert "✗ +7 prompt tokens" in prometheus
    (keys,) = [line for line in output.splitlines() if line.startswith("sum of 1 keys")]
    assert keys.endswith("✓")


async def test_the_receipt_waits_for_records_on_their_way(
    start_upstream: StartUpstream, place: StartPlace, own_postgres: Postgres
) -> None:
    there = place(await start_upstream(), url=own_postgres.new_database())
    port = there.open()
    own_postgres.pause()
    for _ in range(5):
        assert (await ask(port)).status == 200

    verifying = asyncio.create_task(slipway(there, "--verify", *addresses([port])))
    own_postgres.resume()
    code, output, errors = await verifying

    assert code == 0, output + errors


async def test_usage_is_printed_as_asked(place: StartPlace) -> None:
    there = place()
    seeds.add(
        there.engine,
        seeds.record(1),
        seeds.record(2, key="other", status=500, error="internal_error"),
        seeds.record(3, day=6, tokens=(1, 1, 0, 2_000_000_000)),
        seeds.record(4, day=7),
    )

    code, table, _ = await slipway(there)
    assert code == 0
    lines = [line.split() for line in table.splitlines()]
    assert lines[0] == [
        "OWNER",
        "MODEL",
        "REQUESTS",
        "FAILED",
        "PROMPT",
        "CACHED",
        "COMPLETION",
        "COST",
        "(USD)",
    ]
    assert lines[1:] == [
        ["default", "m", "3", "1", "21", "8", "11", "2.000002"],
        ["TOTAL", "3", "1", "21", "8", "11", "2.000002"],
    ]
    _, text, _ = await slipway(there, "--by", "key,day", "--since", "2w", "-o", "csv")
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text)))
    assert [(row["key"], row["requests"]) for row in rows] == [
        ("local", "1"),
        ("local", "1"),
        ("local", "1"),
        ("other", "1"),
    ]
    _, text, _ = await slipway(there, "--by", "owner", "--since", "1d", "-o", "json")
    assert json.loads(text)["total"]["cost_usd"] == "0.000002"


async def test_a_gateway_elsewhere_is_asked_with_a_key(place: StartPlace) -> None:
    there = place()
    seeds.add(there.engine, seeds.record(1), seeds.record(2, owner="search"))
    url = f"http://127.0.0.1:{there.open()}"

    _, everything, _ = await slipway(
        there, "--url", url, "--api-key", "sk-boss", "--by", "owner", "-o", "csv"
    )
    _, own, _ = await slipway(there, "--url", url, "--api-key", "sk-test", "--by", "owner", "-o", "csv")
    code, receipt, errors = await slipway(there, "--url", url, "--api-key", "sk-boss", "--verify")
    refused, _, why = await slipway(there, "--url", url, "--api-key", "sk-test", "--verify")

    assert [line.split(",")[0] for line in everything.splitlines()] == ["owner", "default", "search"]
    assert [line.split(",")[0] for line in own.splitlines()] == ["owner", "default"]
    assert code == 0, receipt + errors
    assert "Prometheus at gateway" in receipt
    assert (refused, "needs a key with the role `admin`" in why) == (1, True)


async def test_wrong_questions_get_a_sentence(place: StartPlace) -> None:
    there = place()
    for arguments in (["--by", "colour"], ["--since", "soon"], ["--since", "2031-02-30"]):
        code, _, errors = await slipway(there, *arguments)
        assert code == 2
        assert "Error: Invalid value" in errors
    code, _, errors = await slipway(
        there, SLIPWAY_STATE=str(there.state.folder / "none"), SLIPWAY_GATEWAY_DATABASE_URL=""
    )
    assert (code, "No usage is recorded" in errors) == (1, True)
    code, _, errors = await slipway(
        there, SLIPWAY_GATEWAY_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none"
    )
    assert (code, "The database cannot be read" in errors) == (1, True)


async def test_the_receipt_knows_that_old_records_are_deleted(place: StartPlace) -> None:
    there = place()
    seeds.add(there.engine, *(seeds.record(number, day=number) for number in range(6)))
    with there.engine.begin() as connection:
        # Of those from 3 days ago on some are gone already, all of those before.
        connection.execute(delete(usage_records).where(usage_records.c.request_id.in_(["req-5", "req-4"])))

    code, output, errors = await slipway(there, "--verify")

    assert code == 0, output + errors
    lines = {line.split("  ")[0]: line.split()[3:] for line in output.splitlines()}
    day = [(datetime.now(UTC) - timedelta(days=ago)).date() for ago in range(8)]
    assert lines[f"total since {day[6]}"][0] == "6"
    assert lines[f"records since {day[2]}"][0] == "3"
