"""What is measured: the bare upstream, relays to compare with, this gateway's variants, and the peers."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from loadtests.overhead.drives import KEY, MODEL, free_port, pinned, request
from loadtests.overhead.machines import cpu_seconds, family, version_of

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "loadtests" / "peers"
START_S = 180.0
SETTLE_S = 30.0


class CannotRunError(Exception):
    """A target that cannot be measured here; the message says why."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where targets run: their core, the core of everything else, a folder, the upstream's port."""

    core: int
    other: int
    folder: Path
    upstream: int
    python: Path
    """Interpreter of the gateway's environment."""


@dataclass(frozen=True, slots=True)
class Server:
    """A target that serves."""

    port: int
    pids: list[int]
    """The main process first, then what it started."""


@dataclass(frozen=True, slots=True)
class Target:
    """`command` makes the command line and the environment for a port."""

    name: str
    does: str
    command: Callable[[Ground, int], tuple[list[str], dict[str, str]]] | None = None
    """None: the upstream itself."""
    version: Callable[[Ground], str] = lambda ground: ""
    redis: bool = False
    children_elsewhere: bool = False
    """Processes that it starts go to the other core."""


@contextmanager
def serving(target: Target, ground: Ground) -> Iterator[Server]:
    """Start a target and wait until it answers. Raises CannotRunError."""
    if target.command is None:
        yield Server(ground.upstream, [])
        return
    with ExitStack() as stack:
        environment: dict[str, str] = {}
        redis = 0
        if target.redis:
            redis = stack.enter_context(_redis(ground))
            environment["SLIPWAY_GATEWAY_LIMITS_REDIS_URL"] = f"redis://127.0.0.1:{redis}/0"
        port = free_port()
        command, more = target.command(ground, port)
        if not Path(command[0]).exists():
            raise CannotRunError(f"{command[0]} is not there: `make bench` makes it")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
        log = ground.folder / f"{target.name.replace(' ', '-')}.log"
        with log.open("w") as output:
            process = pinned(
                command,
                ground.core,
                env=inherited | environment | more,
                stdout=output,
                stderr=output,
                cwd=ROOT,
            )
        stack.callback(_end, process)
        _await_answer(process, port, log)
        pids = family(process.pid)
        if target.children_elsewhere:
            for pid in pids[1:]:
                os.sched_setaffinity(pid, {ground.other})
        settle(pids)
        before = _calls(redis) if redis else 0
        yield Server(port, pids)
        if redis and _calls(redis) < before + 10:
            raise CannotRunError("it did not use Redis")


def settle(pids: list[int]) -> None:
    """Wait until what it does after its start, or after a load that was too much for it, is done."""
    until = time.monotonic() + SETTLE_S
    while time.monotonic() < until:
        before = cpu_seconds(pids)
        time.sleep(0.5)
        if cpu_seconds(pids) - before < 0.02:  # The clock ticks in hundredths.
            return


def _await_answer(process: "subprocess.Popen[str]", port: int, log: Path) -> None:
    body = request(max_tokens=64).partition(b"\r\n\r\n")[2]
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    asked = Request(f"http://127.0.0.1:{port}/v1/chat/completions", body, headers)
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise CannotRunError(f"it ended with {process.returncode}: {_last(log)}")
        try:
            with urlopen(asked, timeout=10) as answer:
                answer.read()
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise CannotRunError(f"it did not answer in {START_S:.0f} s: {_last(log)}")


def _last(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it wrote nothing"


def _end(process: "subprocess.Popen[str]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _redis(ground: Ground) -> Iterator[int]:
    program = shutil.which("redis-server")
    if program is None:
        raise CannotRunError("redis-server is not installed (Debian: apt-get install redis-server)")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = pinned(command, ground.other, stdout=subprocess.DEVNULL, cwd=ground.folder)
    try:
        yield port
    finally:
        _end(process)


def _calls(port: int) -> int:
    """Commands that a Redis has carried out."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"INFO stats\r\n")
        told = b""
        while b"total_commands_processed:" not in told:
            told += connection.recv(65_536)
    return int(told.partition(b"total_commands_processed:")[2].split()[0])


# --- this gateway ---------------------------------------------------------------------------------


def _slipway(ground: Ground, port: int) -> tuple[list[str], dict[str, str]]:
    state = ground.folder / f"state-{port}"
    (state / "objects").mkdir(parents=True)
    limits = {"requestsPerMinute": 1_000_000_000, "tokensPerMinute": 1_000_000_000, "maxParallel": 100_000}
    key_hash = hashlib.sha256(KEY.encode()).hexdigest()
    _write_object(state, "LLMService", MODEL, {"model": {"source": "hf://org/model", "name": MODEL}})
    _write_object(state, "APIKey", "bench", {"owner": "bench", "limits": limits}, {"keyHash": key_hash})
    endpoint = {"address": f"127.0.0.1:{ground.upstream}", "revision": "r1", "ready": True}
    (state / "endpoints.json").write_text(json.dumps({MODEL: [endpoint]}))
    command = [str(ground.python), "-m", "slipway", "gateway", "--port", str(port), "--state", str(state)]
    # One endpoint takes what many engines would share.
    return command, {"SLIPWAY_GATEWAY_MAX_PER_ENDPOINT": "4096", "SLIPWAY_GATEWAY_ENGINE_CONNECTIONS": "4096"}


def _write_object(state: Path, kind: str, name: str, spec: Any, status: Any = None) -> None:
    """JSON, which is YAML too."""
    document = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
        **({"status": status} if status else {}),
    }
    (state / "objects" / f"{kind.lower()}-{name}.yaml").write_text(json.dumps(document))


# --- what it is compared with -----------------------------------------------------------------------


def _asgi_python() -> str:
    """The environment of the two relays; the one that runs this will do where it has what they need."""
    own = ROOT / ".venvs" / "peer-asgi" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def _relay(program: str) -> Callable[[Ground, int], tuple[list[str], dict[str, str]]]:
    def command(ground: Ground, port: int) -> tuple[list[str], dict[str, str]]:
        return [_asgi_python(), str(PEERS / program), str(port), str(ground.upstream), KEY], {}

    return command


def _peer(name: str) -> Path:
    return ROOT / ".venvs" / f"peer-{name}" / "bin"


def _litellm(ground: Ground, port: int) -> tuple[list[str], dict[str, str]]:
    """One worker, with what its page on production asks for, as far as it needs no database."""
    config = {
        "model_list": [
            {
                "model_name": MODEL,
                "litellm_params": {
                    "model": f"openai/{MODEL}",
                    "api_key": "none",
                    "api_base": f"http://127.0.0.1:{ground.upstream}/v1",
                },
            }
        ],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"request_timeout": 600, "set_verbose": False, "json_logs": True},
    }
    file = ground.folder / f"litellm-{port}.yaml"
    file.write_text(json.dumps(config))
    command = [str(_peer("litellm") / "litellm"), "--config", str(file), "--host", "127.0.0.1"]
    return [*command, "--port", str(port), "--num_workers", "1"], {
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def _vllm_router(ground: Ground, port: int) -> tuple[list[str], dict[str, str]]:
    command = [str(_peer("vllm-router") / "vllm-router"), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--worker-urls", f"http://127.0.0.1:{ground.upstream}", "--policy", "round_robin"]
    command += ["--api-key", KEY, "--log-level", "warning", "--prometheus-port", str(free_port())]
    return [*command, "--max-concurrent-requests", "4096", "--request-timeout-secs", "600"], {}


TARGETS = (
    Target("upstream", "no gateway: straight to the upstream"),
    Target("by hand", "asyncio.Protocol on both sides: relay, key check", _relay("by_hand.py")),
    Target(
        "raw ASGI",
        "uvicorn and aiohttp: relay, key check",
        _relay("relay.py"),
        lambda ground: f"(aiohttp {version_of(Path(_asgi_python()), 'aiohttp')})",
    ),
    Target("slipway", "key, rules, limits in the process, usage, metrics, log", _slipway),
    Target(
        "slipway, recorder apart",
        "the same, the usage recorder on the other core",
        _slipway,
        children_elsewhere=True,
    ),
    Target("slipway, Redis", "the same, limits in Redis", _slipway, redis=True),
    Target(
        "vllm-router",
        "relay, key check, metrics",
        _vllm_router,
        lambda ground: version_of(_peer("vllm-router") / "python", "vllm-router"),
    ),
    Target(
        "LiteLLM",
        "key, metrics, callbacks",
        _litellm,
        lambda ground: version_of(_peer("litellm") / "python", "litellm"),
    ),
)
