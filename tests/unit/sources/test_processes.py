"""What holds between processes: one download for all, and a killed one is gone on with."""

import threading
from pathlib import Path

import pytest

from unit.sources import models, worker
from unit.sources.processes import Worker, serves_the_whole
from unit.sources.webserver import Fault, Resource, WebServer


@pytest.fixture
def served(web: WebServer) -> WebServer:
    for name, data in models.files().items():
        web.resources[f"/{name}"] = Resource(data, etag=f'"{name}"')
    return web


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_two_processes_download_once_and_the_second_tells_why_it_waits(served: WebServer, root: Path) -> None:
    gate = threading.Event()
    fault = Fault(100_000, gate)
    served.faults["/model.safetensors"].append(fault)
    first = Worker(root, served.url)
    fault.reached.wait()
    second = Worker(root, served.url)
    waiting = next(line for line in second.lines() if "waiting for another process" in line["message"])
    assert waiting["stage"] == "download"
    assert waiting["total"] == sum(map(len, models.files().values()))
    gate.set()
    results = [first.finish()[-1], second.finish()[-1]]
    assert results[0]["path"] == results[1]["path"]
    assert serves_the_whole(root)
    # The cut one and the one that went on: the second process asked for nothing.
    assert [request.range for request in served.asked("/model.safetensors")] == [None, "bytes=100000-"]


def test_a_waiting_process_takes_over_from_a_killed_one(served: WebServer, root: Path) -> None:
    fault = Fault(100_000, threading.Event())
    served.faults["/model.safetensors"].append(fault)
    first = Worker(root, served.url)
    fault.reached.wait()
    second = Worker(root, served.url)
    next(line for line in second.lines() if "waiting for another process" in line["message"])
    first.kill()
    assert second.finish()[-1]["path"]
    assert serves_the_whole(root)
    assert fault.gate
    fault.gate.set()


def test_a_killed_download_is_gone_on_with(served: WebServer, root: Path) -> None:
    fault = Fault(150_000, threading.Event())
    served.faults["/model.safetensors"].append(fault)
    first = Worker(root, served.url)
    fault.reached.wait()
    while not any(part.stat().st_size for part in (root / "partial").rglob("model.safetensors.part")):
        assert first.process.poll() is None
    first.kill()
    assert not serves_the_whole(root)
    worker.fetch(root, served.url)
    assert serves_the_whole(root)
    resumed = served.asked("/model.safetensors")[-1].range
    assert resumed
    assert int(resumed.removeprefix("bytes=").rstrip("-")) > 0
    assert fault.gate
    fault.gate.set()
