"""A place to run `slipway up` in with stand-in programs, and the objects that the tests use."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration import waiting

STANDINS = Path(__file__).with_name("standins.py")
PATIENCE = 30.0

SERVICE = """
apiVersion: slipway.dev/v1alpha1
kind: LLMService
metadata: {{name: {name}}}
spec:
  model: {{source: "hf://org/model"{model}}}
  engine:
    env: {{{env}}}
  replicas: {replicas}
  rollout: {{strategy: {strategy}}}
---
"""
KEY = """
apiVersion: slipway.dev/v1alpha1
kind: APIKey
metadata: {{name: {name}}}
spec: {{owner: {owner}}}
---
"""


def service(
    name: str = "a", replicas: int = 1, env: str = "", strategy: str = "RollingUpdate", model: str = ""
) -> str:
    return SERVICE.format(name=name, replicas=replicas, env=env, strategy=strategy, model=model)


def key(name: str = "local", owner: str = "me") -> str:
    return KEY.format(name=name, owner=owner)


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`, within the patience that these tests have."""
    return waiting.until(condition, what, PATIENCE)


@dataclass
class Place:
    """A state folder, a file of objects, and the commands run with them."""

    folder: Path
    port: int
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def file(self) -> Path:
        return self.folder / "slipway.yaml"

    def start(self, *arguments: str, **env: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, str(STANDINS), "cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=os.environ | {"SLIPWAY_STATE": str(self.state), "STANDIN_MARK": str(self.folder)} | env,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err

    def up(self, *arguments: str, **env: str) -> "subprocess.Popen[str]":
        return self.start("up", "--port", str(self.port), *arguments, **env)

    def status(self) -> dict[str, Any]:
        try:
            value: dict[str, Any] = json.loads((self.state / "status.json").read_text())
        except (OSError, ValueError):
            return {}
        return value

    def endpoints(self) -> dict[str, list[dict[str, Any]]]:
        value: dict[str, list[dict[str, Any]]] = json.loads((self.state / "endpoints.json").read_text())
        return value

    def rows(self) -> list[dict[str, Any]]:
        return [row for each in self.status().get("services", []) for row in each["processes"]]

    def ready(self) -> bool:
        status = self.status()
        return (
            status.get("supervisor", {}).get("state") == "Running"
            and status["gateway"]["state"] == "Ready"
            and all(each["state"] == "Ready" for each in status["services"])
        )

    def processes(self) -> list[int]:
        """Every living process that was started for this place, however far down."""
        mark = f"STANDIN_MARK={self.folder}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    alive = mark in (entry / "environ").read_bytes().split(b"\0")
                except OSError:
                    continue
                if alive:
                    found.append(int(entry.name))
        return found


def finish(process: "subprocess.Popen[str]", number: int | None = None) -> tuple[int, str, str]:
    if number is not None:
        process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err
