"""The upstream and the clients, both in C so that they cost far less than what stands between them."""

import json
import os
import random
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtests.overhead.machines import compiler, cpu_seconds, memory

SOURCES = Path(__file__).parents[1]
KEY = "sk-bench"
MODEL = "bench"
QUESTION = [
    {
        "role": "system",
        "content": "You are a helpful assistant. Answer briefly and say so if you do not know.",
    },
    {"role": "user", "content": "What is gravity, and why does the moon not fall down? Two sentences."},
]


@dataclass(frozen=True, slots=True)
class Load:
    """What came back of one drive; times are milliseconds, `cpu` seconds of the processes measured."""

    seconds: float
    begun: int
    answered: int
    in_time: int
    """Answered while it was counted; `answered` has those that ended afterwards too."""
    lost: int
    """Asked for and not answered with 200, or not in full."""
    events: int
    peak_streams: int
    first: dict[str, float]
    whole: dict[str, float]
    cpu: float
    cpu_main: float
    """Of the first process alone: without the gateway's recorder."""
    pss: int = 0
    rss: int = 0
    causes: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.in_time / self.seconds


def free_port() -> int:
    """A port that nobody has, below those that the kernel gives to outgoing connections."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise SystemExit("No free port was found between 20000 and 32000.")


def pinned(command: list[str], core: int, **options: Any) -> "subprocess.Popen[str]":
    """A process that runs on one core, it and all that it starts."""
    return subprocess.Popen(
        command,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        start_new_session=True,
        **options,
    )


def build(folder: Path) -> None:
    """Compile both programs into a folder."""
    for name in ("upstream", "clients"):
        command = [compiler(), "-O2", "-o", str(folder / name), str(SOURCES / f"{name}.c")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")


@contextmanager
def upstream(folder: Path, core: int) -> Iterator[int]:
    """The engine that every gateway relays to; gives its port."""
    port = free_port()
    process = pinned([str(folder / "upstream"), str(port)], core)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def request(**fields: object) -> bytes:
    """The bytes that each client sends."""
    body = json.dumps({"model": MODEL, "messages": QUESTION, **fields}, separators=(",", ":")).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"authorization: Bearer {KEY}\r\ncontent-type: application/json\r\naccept: */*\r\n"
        f"user-agent: slipway-loadtest\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(frozen=True, slots=True)
class Clients:
    """Drives servers from one core."""

    folder: Path
    core: int
    patience: float = 60.0
    """Seconds that answers may take after the counting; what comes later is lost."""

    def requests(self, port: int, pids: list[int], connections: int, warm: float, seconds: float) -> Load:
        """Answers that are not streamed, each connection asking again at once."""
        numbers = [0, 0, warm, seconds, self.patience]
        return self._drive(port, pids, request(max_tokens=64), connections, numbers)

    def streams(self, port: int, pids: list[int], streams: int, events: int, rate: int) -> Load:
        """As many streams at the same time, one each, `rate` events a second."""
        sent = request(
            stream=True, stream_options={"include_usage": True}, max_tokens=events, seed=rate, temperature=0
        )
        return self._drive(port, pids, sent, streams, [events, 1, 0, 0, events / rate + self.patience])

    def _drive(self, port: int, pids: list[int], sent: bytes, connections: int, numbers: list[float]) -> Load:
        """`numbers` are the clients' last five arguments."""
        file = self.folder / "request"
        file.write_bytes(sent)
        command = [str(self.folder / "clients"), str(port), str(connections), str(file), *map(str, numbers)]
        before, before_main = cpu_seconds(pids), cpu_seconds(pids[:1])
        process = pinned(command, self.core, stdout=subprocess.PIPE)
        try:
            with _peak(pids) as peak:
                assert process.stdout is not None
                if process.stdout.readline().strip() != "counting":
                    raise SystemExit("The clients could not begin.")
                if not numbers[1]:
                    before, before_main = cpu_seconds(pids), cpu_seconds(pids[:1])
                told = json.loads(process.stdout.read())
                cpu, cpu_main = cpu_seconds(pids) - before, cpu_seconds(pids[:1]) - before_main
        finally:
            process.kill()
            process.communicate()
        causes = {name: told[name] for name in ("refused", "cut", "unanswered", "unconnected", "short")}
        return Load(
            seconds=told["seconds"],
            begun=told["begun"],
            answered=told["answered"],
            in_time=told["in_time"],
            lost=sum(causes.values()),
            events=told["events"],
            peak_streams=told["peak_streams"],
            first=told["first"],
            whole=told["whole"],
            cpu=cpu,
            cpu_main=cpu_main,
            pss=peak[0],
            rss=peak[1],
            causes={name: count for name, count in causes.items() if count},
        )


@contextmanager
def _peak(pids: list[int], every: float = 0.25) -> Iterator[list[int]]:
    """The largest memory while something runs: PSS and RSS, filled in at the end."""
    peak = [0, 0]
    over = threading.Event()

    def watch() -> None:
        while True:
            pss, rss = memory(pids)
            peak[0], peak[1] = max(peak[0], pss), max(peak[1], rss)
            if over.wait(every):
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
