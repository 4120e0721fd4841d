"""How an engine of this runtime starts, ends, fails, and what it does when too much is asked of it."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from integration.transformers_runtime.engines import KEY, Engine, python, running
from integration.waiting import free_port, until

LONG = {"prompt": "the sea", "max_tokens": 768, "ignore_eos": True, "temperature": 0}
RUNTIME = ("--runtime", "transformers")


@pytest.fixture
def engine(models: Path, tmp_path: Path) -> Iterator[Engine]:
    bounds = ("--max-model-len", "1024", "--", "--max-num-seqs", "2", "--max-waiting=3")
    with running(tmp_path, models / "t5", *RUNTIME, *bounds) as engine:
        yield engine


class Stream(threading.Thread):
    """A long answer, read in the background."""

    def __init__(self, engine: Engine, **more: Any) -> None:
        super().__init__()
        self._engine = engine
        self._more = more
        self.events: list[Any] = []
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.events = self._engine.events("/v1/completions", **{**LONG, **self._more})
        except BaseException as error:
            self.error = error


def test_the_start_is_told_and_sigterm_finishes_what_runs(engine: Engine) -> None:
    told = engine.told()
    stages = [line["stage"] for line in told if line["event"] == "progress"]
    assert stages[-1] == "load"
    assert "import" in stages
    streams = [Stream(engine), Stream(engine, n=2)]
    until(lambda: engine.metric("num_requests_running") == 2, "the first rows run")
    engine.process.send_signal(signal.SIGTERM)
    until(lambda: engine.ask("GET", "/health")[0] == 503, "it drains")
    assert engine.refused("/v1/completions", prompt="a")[1]["code"] == "draining"
    for stream in streams:
        stream.join()
        assert stream.error is None
        assert stream.events[-1]["choices"][0]["finish_reason"] == "length"
    assert engine.process.wait(30) == 0
    events = [line["event"] for line in engine.told()]
    assert "drained" in events
    assert "failed" not in events


def test_more_than_the_queue_holds_is_turned_away_with_a_time_to_come_back(engine: Engine) -> None:
    held = [Stream(engine, n=2)]
    until(lambda: engine.metric("num_requests_running") == 2, "all places are taken")
    held.append(Stream(engine, n=3))
    until(lambda: engine.metric("num_requests_waiting") == 3, "the queue is full")
    with pytest.raises(HTTPError) as caught:
        engine.events("/v1/completions", **LONG)
    with caught.value as refused:
        assert refused.code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert json.loads(refused.read())["error"]["code"] == "overloaded"
    assert engine.refused("/v1/completions", **LONG, n=4)[1]["param"] == "n"
    for stream in held:
        stream.join()
        assert stream.error is None


def test_one_that_leaves_the_queue_is_never_worked_on(engine: Engine) -> None:
    held = Stream(engine, n=2)
    until(lambda: engine.metric("num_requests_running") == 2, "all places are taken")
    data = json.dumps({"model": "t5", **LONG}).encode()
    with socket.create_connection(("127.0.0.1", engine.port)) as client:
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        client.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        until(lambda: engine.metric("num_requests_waiting") == 1, "it waits")
    until(lambda: engine.metric("num_requests_waiting") == 0, "it is gone")
    held.join()
    assert held.error is None
    assert engine.metric("generation_tokens_total") == 2 * 768


def test_a_killed_engine_is_gone_at_once_and_cuts_its_streams(engine: Engine) -> None:
    stream = Stream(engine)
    until(lambda: engine.metric("num_requests_running") == 1, "it runs")
    engine.process.kill()
    stream.join()
    assert stream.error is not None
    assert engine.process.wait(30) == -signal.SIGKILL
    with pytest.raises(OSError, match="refused"):
        engine.ask("GET", "/health")


def start(*args: str) -> tuple[int, list[dict[str, Any]]]:
    command = [python(), "-m", "slipway", "engine", *RUNTIME, "--name", "tiny", "--device", "cpu"]
    command += ["--port", str(free_port())] if "--port" not in args else []
    ran = subprocess.run([*command, *args], capture_output=True, text=True, check=False, timeout=120)
    return ran.returncode, [json.loads(line) for line in ran.stderr.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("model", "args", "code", "reason", "says"),
    [
        ("bert", ["--task", "generate"], 1, "ModelNotSupported", "classify"),
        ("bert", ["--task", "score"], 1, "ModelNotSupported", "3 labels"),
        ("encoder", ["--task", "classify"], 1, "ModelNotSupported", "no classifier"),
        ("t5", ["--task", "classify"], 1, "ModelNotSupported", "no classifier"),
        ("bert", ["--task", "classify", "--max-model-len", "4096"], 1, "WrongMaxModelLen", "128 positions"),
        ("bert", ["--tensor-parallel", "2"], 2, "WrongArguments", "tensorParallel"),
        ("bert", ["--adapter", "a=file:///b"], 2, "WrongArguments", "adapters"),
        ("bert", ["--", "--enforce-eager"], 2, "WrongArguments", "--max-num-seqs"),
        ("moe", [], 1, "ModelNotSupported", "first answer failed"),
        ("missing", [], 1, "SourceNotFound", "missing"),
    ],
)
def test_a_start_that_cannot_succeed_tells_why(
    models: Path, model: str, args: list[str], code: int, reason: str, says: str
) -> None:
    returned, told = start("--source", f"file://{models / model}", *args)
    assert (returned, told[-1]["event"], told[-1]["reason"]) == (code, "failed", reason), told[-1]
    assert says in told[-1]["message"]


def test_weights_that_lack_the_classifier_are_not_made_up(models: Path, tmp_path: Path) -> None:
    """The encoder's weights under the configuration of a classifier."""
    for file in (models / "encoder").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"architectures": ["BertForSequenceClassification"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    returned, told = start("--source", f"file://{tmp_path}", "--task", "classify")
    assert (returned, told[-1]["reason"]) == (1, "ModelNotSupported")
    assert re.search(r"lack .*classifier", told[-1]["message"])


def test_pickled_weights_and_a_folders_own_code_are_not_loaded(models: Path, tmp_path: Path) -> None:
    pickled, coded = tmp_path / "pickled", tmp_path / "coded"
    for folder in (pickled, coded):
        folder.mkdir()
        for file in (models / "bert").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    returned, told = start("--source", f"file://{pickled}", "--task", "classify")
    assert (returned, told[-1]["reason"]) == (1, "UnsafeWeights")

    config = json.loads((coded / "config.json").read_text())
    code = {"AutoConfig": "own.Own", "AutoModelForSequenceClassification": "own.Model"}
    (coded / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": code}))
    proof = tmp_path / "it-ran"
    (coded / "own.py").write_text(f"open({str(proof)!r}, 'w')\n")
    returned, told = start("--source", f"file://{coded}", "--task", "classify")
    assert (returned, told[-1]["reason"]) == (1, "ModelNotSupported")
    assert not proof.exists()
    assert str(coded) not in told[-1]["message"]


def test_a_taken_port_ends_the_start_before_the_model_is_loaded(models: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        returned, told = start("--source", f"file://{models / 'bert'}", "--port", port, "--task", "classify")
    assert (returned, told[-1]["reason"]) == (1, "PortTaken")
    assert "imported" not in [line["event"] for line in told]


def test_sigterm_ends_a_start_at_once(models: Path) -> None:
    command = [python(), "-m", "slipway", "engine", *RUNTIME, "--name", "t5", "--port", str(free_port())]
    with subprocess.Popen(
        [*command, "--source", f"file://{models / 't5'}"], stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stderr is not None
        assert json.loads(process.stderr.readline())["stage"] == "import"
        process.send_signal(signal.SIGTERM)
        told = [json.loads(line) for line in process.stderr if line.startswith("{")]
    assert process.returncode == 0
    assert told[-1]["event"] == "stopped"
