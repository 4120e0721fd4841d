"""`slipway gateway` as a process of its own, as people run it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


class Process:
    """One gateway process on a free port; its log goes to a file."""

    def __init__(self, state: Path, *arguments: str, **settings: Any) -> None:
        self._log = state.parent / f"{state.name}-{len(list(state.parent.glob('*.log')))}.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
        environment |= {f"SLIPWAY_GATEWAY_{name.upper()}": str(value) for name, value in settings.items()}
        command = [
            sys.executable,
            "-m",
            "slipway",
            "gateway",
            "--port",
            "0",
            "--state",
            str(state),
            *arguments,
        ]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines that are complete."""
        text = self._log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == name]

    def port(self) -> int:
        """Wait until it listens and has read its state."""
        while not (self.events("listening") and self.events("catalog")):
            assert self._process.poll() is None, self._log.read_text()
            time.sleep(0.02)
        return int(self.events("listening")[0]["port"])

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        return self._process.wait(60)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
