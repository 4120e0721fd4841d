"""Real engines of the Transformers runtime, and Transformers itself beside them, for comparison."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from integration.waiting import free_port, until

REFERENCE = Path(__file__).with_name("reference.py")
KEY = "engine-key"


def python() -> str:
    """The interpreter of the engines' environment."""
    if "SLIPWAY_ENGINE_PYTHON" not in os.environ:
        raise AssertionError(
            "Set SLIPWAY_ENGINE_PYTHON to the interpreter of an engine's environment (make envs)."
        )
    return os.environ["SLIPWAY_ENGINE_PYTHON"]


@dataclass
class Engine:
    """One engine process."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def told(self) -> list[dict[str, Any]]:
        """The lines that it wrote."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "/health")[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: Any = None, key: str | None = KEY) -> tuple[int, Any]:
        """Status and document (or text) of an answer."""
        headers = {"content-type": "application/json"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(self.url + path, data, headers, method=method), timeout=100) as answer:
                status, text = answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                status, text = error.code, error.read().decode()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def post(self, path: str, **body: Any) -> Any:
        """The document of an answer that must succeed."""
        status, document = self.ask("POST", path, {"model": self.name, **body})
        assert status == 200, document
        return document

    def refused(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        """Status and error of an answer that must not."""
        status, document = self.ask("POST", path, {"model": self.name, **body})
        assert set(document["error"]) == {"message", "type", "param", "code"}, document
        return status, document["error"]

    def at_once(self, path: str, bodies: Sequence[dict[str, Any]]) -> list[Any]:
        """The answers to requests that are all under way at the same time."""
        with ThreadPoolExecutor(len(bodies)) as threads:
            return list(threads.map(lambda body: self.post(path, **body), bodies))

    def events(self, path: str, **body: Any) -> list[Any]:
        """The events of a stream; the last must be [DONE], which is left out."""
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        data = json.dumps({"model": self.name, "stream": True, **body}).encode()
        with urlopen(Request(self.url + path, data, headers), timeout=100) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = [line.decode().rstrip("\n") for line in answer]
        assert lines[1::2] == [""] * (len(lines) // 2)
        assert lines[-2] == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-2:2]]

    def metric(self, name: str, **labels: str) -> float:
        """The sum over the samples of a metric with these labels."""
        text = self.ask("GET", "/metrics", key=None)[1]
        total = 0.0
        for told, value in re.findall(rf"^slipway_engine_{name}\{{([^}}]*)\}} (\S+)$", text, re.MULTILINE):
            if all(f'{label}="{wanted}"' in told for label, wanted in labels.items()):
                total += float(value)
        return total


@contextmanager
def running(folder: Path, model: Path, *args: str, log: str = "engine") -> Iterator[Engine]:
    """An engine that serves `model` under its folder's name, until the end of the block."""
    port = free_port()
    command = [python(), "-m", "slipway", "engine", "--source", f"file://{model}", "--name", model.name]
    path = folder / f"{log}-{model.name}.log"
    with path.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--device", "cpu", "--port", str(port), *args],
            stderr=out,
            env=os.environ | {"SLIPWAY_ENGINE_KEY": KEY},
        )
    engine = Engine(model.name, port, process, path)
    try:
        until(engine.ready, f"{model.name} is healthy", 100)
        yield engine
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait()


class Reference:
    """Transformers itself, asked in a process of its own."""

    def __init__(self, models: Path) -> None:
        self._process = subprocess.Popen(
            [python(), str(REFERENCE), "answer", str(models)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, model: str, do: str, **more: Any) -> Any:
        """Its answer; reference.py lists the questions."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"model": model, "do": do, **more}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=30)


def make_models(folder: Path) -> None:
    """Write the tiny models."""
    subprocess.run([python(), str(REFERENCE), "make", str(folder)], check=True, capture_output=True)
