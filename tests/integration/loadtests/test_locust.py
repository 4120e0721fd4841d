"""Locust's users against a real gateway: what they count, and how they end."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from integration.gateway.conftest import Running, Start, StartUpstream
from integration.gateway.upstreams import Exchange, behave

ROOT = Path(__file__).parents[3]
LOCUST = ROOT / ".venvs" / "loadtest" / "bin" / "locust"


@pytest.fixture(scope="module", autouse=True)
def locust() -> None:
    """Locust has an environment of its own."""
    if not LOCUST.exists():
        pytest.fail("No Locust: make its environment (make test does, or make .venvs/loadtest/.ready).")


async def drive(
    gateway: Running, report: Path, *users: str, seconds: int = 2, **more: Any
) -> tuple[int, str]:
    """Exit code and output of the load test."""
    command = [sys.executable, "-m", "loadtests.loadtest", "--locust", str(LOCUST), "--report", str(report)]
    command += ["--url", f"http://127.0.0.1:{gateway.port}", "--seconds", str(seconds)]
    for name, value in {"users": 3, "key": "sk-test", **more}.items():
        command += [f"--{name}", str(value)]
    process = await asyncio.create_subprocess_exec(
        *command, *users, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_a_good_run_ends_with_0_and_leaves_a_report(
    start: Start, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    gateway = await start(await start_upstream())
    code, output = await drive(gateway, tmp_path / "report.html", "Chat", "Streaming")
    assert code == 0, output
    assert "Time to first token: p50" in output
    assert f"Report: {tmp_path / 'report.html'}" in output
    assert "first token" in (tmp_path / "report.html").read_text()
    asked = {
        line["stream"]
        for line in gateway.log
        if line.get("route") == "/v1/chat/completions"
        if "stream" in line
    }
    assert asked == {True}


async def test_a_failure_is_named_and_ends_it_with_1(
    start: Start, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}")

    gateway = await start(await start_upstream(script))
    code, output = await drive(gateway, tmp_path / "report.html", "Chat")
    assert code == 1, output
    assert "x chat: 502 " in output, output


async def test_a_stream_that_is_cut_is_a_failure(
    start: Start, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        exchange.abort()

    gateway = await start(await start_upstream(script))
    code, output = await drive(gateway, tmp_path / "report.html", "Streaming")
    assert code == 1, output
    assert "x chat, streamed:" in output


async def test_texts_are_embedded_and_classified(
    start: Start, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    async def script(exchange: Exchange) -> None:
        count = len(exchange.request.json["input"])
        if exchange.request.target == "/v1/embeddings":
            data = [{"object": "embedding", "index": at, "embedding": [0.5]} for at in range(count)]
        else:
            data = [{"index": at, "label": "a", "probs": [1.0], "num_classes": 1} for at in range(count)]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        await exchange.answer({"object": "list", "model": "e", "data": data, "usage": usage})

    upstream = await start_upstream(script)
    gateway = await start(upstream)
    gateway.state.service("c", task="classify")
    gateway.state.endpoints(m=[upstream.address], e=[upstream.address], c=[upstream.address])
    await gateway.until(lambda: "c" in gateway.gateway.catalog.snapshot.models)
    code, output = await drive(gateway, tmp_path / "report.html", "Embeddings", "Classify")
    assert code == 0, output
    routes = [
        line["route"]
        for line in gateway.log
        if line["event"] == "request" and line.get("model") in ("e", "c")
    ]
    assert set(routes) == {"/v1/embeddings", "/v1/classify"}


async def test_a_limit_is_no_failure(start: Start, start_upstream: StartUpstream, tmp_path: Path) -> None:
    async def script(exchange: Exchange) -> None:
        await asyncio.sleep(0.3)
        await behave(exchange)

    gateway = await start(await start_upstream(script), key={"limits": {"maxParallel": 1}})
    code, output = await drive(gateway, tmp_path / "report.html", "Chat")
    assert code == 0, output
    assert "Limited: " in output


async def test_users_without_a_model_and_a_wrong_key_are_told(
    start: Start, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    gateway = await start(await start_upstream())
    code, output = await drive(gateway, tmp_path / "report.html", "Classify")
    assert code == 1
    assert "No ready model for Classify" in output
    code, output = await drive(gateway, tmp_path / "report.html", key="sk-wrong")
    assert code == 1
    assert "401" in output
    assert not (tmp_path / "report.html").exists()
