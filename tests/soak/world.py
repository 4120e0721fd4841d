"""What a soak runs in: gateways on one state folder, stand-in engines, Redis, a database; their faults."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from integration.gateway.processes import Process
from integration.gateway.states import State

ENGINES = 3
MODES = ("slow", "garbage", "cut", "busy")
LIMIT = 120
"""Requests a minute of the key that has a limit."""


Stoppable = tuple[Callable[[], None], Callable[[], None]]
"""How a server is stopped where it is, and how it goes on."""


@dataclass
class Engine:
    """One stand-in engine process; it comes back at the same port."""

    finished: Path
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        command = [sys.executable, "-m", "soak.engine", str(self.finished), str(self.port)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def mode(self, mode: str) -> None:
        self.finished.with_suffix(".mode").write_text(mode)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass
class Fault:
    """Something that goes wrong, and how it is mended."""

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    seconds: float


@dataclass
class Gateway:
    """A gateway process that is replaced when it was killed; `killed_at` are times of the monotonic clock."""

    state: Path
    settings: dict[str, object]
    process: Process | None = None
    port: int = 0
    killed_at: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def start(self) -> None:
        self.process = Process(self.state, **self.settings)
        self.port = self.process.port()
        self.memory = []

    def kill(self) -> None:
        assert self.process is not None
        self.killed_at.append(time.monotonic())
        self.process.kill()

    def resident(self) -> int:
        """Bytes of memory that the process itself holds (PSS without what others share)."""
        assert self.process is not None
        with suppress(OSError):
            text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
            return int(text.split("Pss:")[1].split()[0]) * 1024
        return 0


class World:
    """Everything that runs."""

    def __init__(self, folder: Path, *, gateways: int, redis: str, database: str) -> None:
        self.state = State(folder / "state")
        self.state.service("m")
        self.state.service("lone")
        self.state.key("open", "sk-open", owner="a")
        self.state.key("limited", "sk-limited", owner="b", limits={"requestsPerMinute": LIMIT})
        self.engines = [Engine(folder / f"finished-{number}") for number in range(ENGINES)]
        for engine in self.engines:
            engine.start()
        self.publish()
        settings: dict[str, object] = {
            "queue_timeout": 5,
            "engine_connect_timeout": 1,
            "engine_first_byte_timeout": 10,
            "drain_timeout": 5,
        }
        if redis:
            settings["limits_redis_url"] = redis
        if database:
            settings["database_url"] = database
        self.gateways = [Gateway(self.state.folder, settings) for _ in range(gateways)]
        for gateway in self.gateways:
            gateway.start()

    def publish(self) -> None:
        addresses = [f"127.0.0.1:{engine.port}" for engine in self.engines]
        self.state.endpoints(m=addresses, lone=addresses[:1])

    def faults(self, random: Random, stoppable: Mapping[str, Stoppable]) -> list[Fault]:
        """One of each kind, victims by chance; `stoppable` are servers by name."""
        engine = random.choice(self.engines)
        gateway = random.choice(self.gateways)
        mode = random.choice(MODES)
        found = [
            Fault("engine killed", engine.kill, engine.start, 1.5),
            Fault(
                "engine stopped",
                lambda: engine.send(signal.SIGSTOP),
                lambda: engine.send(signal.SIGCONT),
                3,
            ),
            Fault(f"engine {mode}", lambda: engine.mode(mode), lambda: engine.mode("good"), 2),
            Fault("gateway killed", gateway.kill, gateway.start, 0.5),
        ]
        found += [Fault(f"{name} stopped", *how, 2) for name, how in stoppable.items()]
        return found

    def finished(self) -> list[str]:
        """The ids of all requests that an engine has finished, each as often as one did."""
        return [
            line.split()[0]
            for engine in self.engines
            for line in engine.finished.read_text().splitlines()
            if line
        ]

    def stop(self) -> None:
        for gateway in self.gateways:
            if gateway.process is not None and gateway.process.running:
                gateway.process.kill()
        for engine in self.engines:
            with suppress(ProcessLookupError):
                engine.send(signal.SIGCONT)
            engine.kill()


__all__ = ["LIMIT", "Engine", "Fault", "Gateway", "Stoppable", "World"]
