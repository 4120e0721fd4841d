"""The gateway as a process: its start, its signals, its end."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.gateway.clients import call, chat, connect, request
from integration.gateway.conftest import StartUpstream
from integration.gateway.processes import Process
from integration.gateway.states import State
from integration.gateway.upstreams import Exchange, chunk

PATH = "/v1/chat/completions"
Run = Callable[..., Process]


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.service("m")
    state.key()
    return state


@pytest.fixture
def run(state: State) -> Iterator[Run]:
    """Starts gateways; whatever is left of them ends with the test."""
    started: list[Process] = []

    def start(*arguments: str, **settings: Any) -> Process:
        process = Process(state.folder, *arguments, **settings)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.running:
            process.kill()


async def port_of(process: Process) -> int:
    return await asyncio.to_thread(process.port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_running_stream_is_finished_before_the_end(
    state: State, run: Run, start_upstream: StartUpstream, number: signal.Signals
) -> None:
    go_on = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("one"))
        await go_on.wait()
        await exchange.event(chunk("two"))
        await exchange.end_stream()

    upstream = await start_upstream(script)
    state.endpoints(m=[upstream.address])
    process = run()
    port = await port_of(process)
    async with connect(port) as streaming, connect(port) as idle:
        await idle.send(request("/readyz", close=False))
        assert (await idle.read_reply()).status == 200
        await streaming.send(request(PATH, chat(stream=True), close=False))
        await streaming.read_head()
        await streaming.read_chunk()
        process.send(number)
        # Unused connections end at once, and nobody new gets in.
        assert await idle.at_end() == b""
        with pytest.raises(ConnectionRefusedError):
            await call(port, "/livez")
        assert process.running
        go_on.set()
        rest = await streaming.at_end()
    assert b"[DONE]" in rest
    assert await asyncio.to_thread(process.wait) == 0
    assert process.events("stopped")


async def test_a_stream_that_does_not_end_is_cut_honestly(
    state: State, run: Run, start_upstream: StartUpstream
) -> None:
    closed = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("one"))
        await exchange.closed_by_peer()
        closed.set()

    upstream = await start_upstream(script)
    state.endpoints(m=[upstream.address])
    process = run("--drain-timeout", "1")
    port = await port_of(process)
    async with connect(port) as client:
        await client.send(request(PATH, chat(stream=True)))
        await client.read_head()
        await client.read_chunk()
        process.send(signal.SIGTERM)
        rest = await client.at_end()
    assert b'"code":"drain_timeout"' in rest
    assert b"[DONE]" not in rest
    await closed.wait()
    assert await asyncio.to_thread(process.wait) == 0


async def test_readiness_turns_before_the_port_closes(
    state: State, run: Run, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream()
    state.endpoints(m=[upstream.address])
    process = run(drain_delay=1.5)
    port = await port_of(process)
    assert (await call(port, "/readyz")).status == 200
    process.send(signal.SIGTERM)
    while (reply := await call(port, "/readyz")).status == 200:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.01)
    assert reply.json["reason"] == "the gateway is shutting down"
    assert (await call(port, PATH, chat())).status == 200
    assert await asyncio.to_thread(process.wait) == 0


def test_a_taken_port_is_one_sentence_and_exit_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "slipway", "gateway", "--port", port, "--state", str(tmp_path)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert port in line
    assert "--port" in line


@pytest.mark.parametrize(
    ("arguments", "environment"), [(["--port", "x"], {}), ([], {"SLIPWAY_GATEWAY_MAX_BODY": "lots"})]
)
def test_wrong_settings_are_named_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "slipway", "gateway", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert all(name in result.stderr for name in environment)
    assert "Traceback" not in result.stderr


async def test_objects_and_endpoints_are_taken_up_while_it_runs(
    state: State, run: Run, start_upstream: StartUpstream
) -> None:
    first, second = await start_upstream(), await start_upstream()
    state.endpoints(m=[first.address])
    port = await port_of(run())
    assert (await call(port, PATH, chat())).status == 200
    state.endpoints(m=[second.address])
    while not second.requests:
        assert (await call(port, PATH, chat())).status == 200
    state.service("other")
    state.endpoints(m=[second.address], other=[second.address])
    while (await call(port, PATH, chat(model="other"))).status != 200:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.02)


async def test_more_than_a_thousand_connections(
    state: State, run: Run, start_upstream: StartUpstream
) -> None:
    """production-stack's router died above 1,000."""
    upstream = await start_upstream()
    state.endpoints(m=[upstream.address])
    port = await port_of(run())
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1200)]
    reply = await call(port, PATH, chat())
    assert reply.status == 200
    for _, writer in opened:
        writer.write(request("/livez"))
    for reader, writer in opened:
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_every_line_of_the_log_is_json(state: State, run: Run, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    state.endpoints(m=[upstream.address])
    process = run()
    port = await port_of(process)
    async with connect(port) as client:
        await client.send(b"garbage\r\n\r\n")
        assert json.loads((await client.read_reply()).body)["error"]["code"] == "invalid_http"
    await call(port, PATH, chat())
    process.send(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait) == 0
    assert {line["event"] for line in process.log} == {"listening", "catalog", "request", "stopped"}
    assert all({"ts", "level", "event"} <= set(line) for line in process.log)
