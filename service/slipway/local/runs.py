"""`slipway up` and `slipway down`: a local run from its begin to its end."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from slipway.local.applying import Applied, apply
from slipway.local.commands import Commands
from slipway.local.display import Display
from slipway.local.errors import (
    GatewayLateError,
    LocalError,
    NotRunningError,
    PortTakenError,
    StartFailedError,
    StateError,
)
from slipway.local.folders import StateFolder
from slipway.local.following import KILLED, follow, observed, supervisor_of
from slipway.local.keys import utc_now
from slipway.local.ports import require_free, url
from slipway.local.probes import key_settled, models_settled
from slipway.local.processes import Identity, Recorded, kill_leftovers
from slipway.local.supervisor import Settings, Supervisor
from slipway.objects.loading import Loaded

Say = Callable[[str], None]


def leftovers(state: StateFolder) -> list[Recorded]:
    """Kill what a run that was SIGKILLed left; what that was."""
    recorded = [Recorded.from_json(each) for each in state.read_json(state.processes).get("processes", [])]
    return kill_leftovers(each for each in recorded if each is not None)


def ready_lines(status: dict[str, Any], loaded: Loaded, applied: Applied) -> list[str]:
    """What a user needs to make the first call, each on a line of its own."""
    base = status["gateway"]["url"]
    key = applied.api_key or "(the one whose hash is in the file)"
    shown = [f"Gateway: {base}", f"Console: {base}/", f"API key: {key}"]
    served = [service for service in loaded.services if service.spec.replicas > 0]
    served.sort(key=lambda service: service.spec.model.task != "generate")
    if served:
        shown.append(curl_line(base, key, served[0].served_name, served[0].spec.model.task))
    return shown


def curl_line(base: str, key: str, model: str, task: str) -> str:
    """A first call that can be pasted into a shell."""
    question = "What is the capital of France?"
    asks: dict[str, tuple[str, dict[str, Any]]] = {
        "generate": (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": question}], "temperature": 0, "stream": True},
        ),
        "embed": ("/v1/embeddings", {"input": "A sentence to embed."}),
        "classify": ("/v1/classify", {"input": "A sentence to label."}),
        "score": ("/v1/score", {"text_1": question, "text_2": ["Paris is.", "The sea is deep."]}),
    }
    path, more = asks[task]
    body = {"model": model, **more}
    headers = [f"Authorization: Bearer {key}", "Content-Type: application/json"]
    argv = ["curl", "-sN", base + path, *(part for header in headers for part in ("-H", header))]
    return shlex.join([*argv, "-d", json.dumps(body)])


async def followed(state: StateFolder, applied: Applied, display: Display, timeout: float) -> dict[str, Any]:
    """The status once all is ready and the gateway answers for it, with the key that is shown.

    Raises LocalError, of which GatewayLateError says that everything else is ready.
    """
    status = await follow(state, applied.sequence, display.show, timeout)
    gateway = status["gateway"]["url"]
    models = [each["model"] for each in status["services"] if each["state"] == "Ready" and each["replicas"]]
    late = await models_settled(gateway, models)
    if late:
        reasons = "; ".join(f"`{name}`: {reason}" for name, reason in late.items())
        raise GatewayLateError(
            f"The engines are ready, but the gateway at {gateway} does not answer for all. {reasons}. "
            f"See {state.logs / 'gateway.log'}."
        )
    if applied.api_key is not None and not await key_settled(gateway, applied.api_key, accepted=True):
        raise GatewayLateError(
            f"The gateway at {gateway} does not take the API key yet: see {state.logs / 'gateway.log'}."
        )
    display.close()
    return status


def begin(state: StateFolder, commands: Commands, settings: Settings, loaded: Loaded, say: Say) -> Applied:
    """What comes before the first process, with the supervisor's lock held. Raises LocalError."""
    for left in leftovers(state):
        say(f"Killed {left.name}, left by an earlier run that was killed.")
    require_free(settings.host, settings.port)
    if runtimes := {each.spec.engine.runtime for each in loaded.services if each.spec.replicas}:
        commands.check(runtimes)
    applied = apply(state, loaded, utc_now())
    with state.explained():
        # Nothing of the last run is true any more.
        state.write_json(state.endpoints, {})
        state.write_json(state.status, {})
    return applied


def up_here(
    state: StateFolder,
    commands: Commands,
    settings: Settings,
    loaded: Loaded,
    display: Display,
    out: Callable[[Iterable[str]], None],
) -> int:
    """Supervise in this process, with the lock held, until a signal ends it. Returns the exit code."""
    applied = begin(state, commands, settings, loaded, display.say)
    return asyncio.run(_up_here(state, commands, settings, loaded, applied, display, out))


async def _up_here(
    state: StateFolder,
    commands: Commands,
    settings: Settings,
    loaded: Loaded,
    applied: Applied,
    display: Display,
    out: Callable[[Iterable[str]], None],
) -> int:
    supervisor = Supervisor(state, commands, settings, display.say)
    signals: list[int] = []

    def interrupted(number: int) -> None:
        signals.append(number)
        supervisor.stop()
        display.close()
        if len(signals) <= 2:
            display.say(
                "Killing." if len(signals) == 2 else "Stopping: what runs is finished; once more kills."
            )

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupted, number)

    async def announce() -> None:
        while True:
            try:
                status = await followed(state, applied, display, timeout=0)
            except GatewayLateError as error:
                display.say(str(error))
            except LocalError:
                return  # The supervisor tells its own failure.
            else:
                break
        out(ready_lines(status, loaded, applied))
        display.say("Press Ctrl-C to stop.")

    announcing = asyncio.create_task(announce())
    try:
        await supervisor.run()
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)
        display.close()
    if supervisor.failure:
        raise StartFailedError(supervisor.failure)
    display.say("Stopped.")
    return 0 if supervisor.was_ready else 128 + signals[0]


def up_there(
    state: StateFolder,
    loaded: Loaded,
    host: str | None,
    port: int | None,
    timeout: float,
    display: Display,
    out: Callable[[Iterable[str]], None],
) -> int:
    """Another process supervises: give it the objects and follow until they are ready. Raises LocalError."""
    running = _await_status(state)
    there = running["gateway"]["url"]
    if (host, port) != (None, None):
        asked = url(host or "127.0.0.1", port or 8000)
        if asked != there:
            raise PortTakenError(
                f"A run with the state folder {state.root} has its gateway at {there}: leave out --host and "
                "--port to change its objects, or stop it first with `slipway down`."
            )
    applied = apply(state, loaded, utc_now())
    display.say(f"A run is going on (pid {running['supervisor']['pid']}); it takes up the changes.")
    status = asyncio.run(followed(state, applied, display, timeout))
    out(ready_lines(status, loaded, applied))
    return 0


def _await_status(state: StateFolder) -> dict[str, Any]:
    """The status of the supervisor that holds the lock; it may have begun a moment ago."""
    for _ in range(300):
        status = state.read_json(state.status)
        if supervisor_of(status) is not None and status["supervisor"]["state"] in ("Starting", "Running"):
            return status
        if (handle := state.try_lock()) is not None:
            os.close(handle)
            raise NotRunningError("The other `slipway up` ended just now: try again.")
        time.sleep(0.1)
    raise NotRunningError(
        f"Another `slipway up` holds the state folder {state.root} and is stopping: "
        "try again when it has ended, or choose another with --state DIR."
    )


def up_behind(
    state: StateFolder,
    lock: int,
    commands: Commands,
    settings: Settings,
    loaded: Loaded,
    display: Display,
    out: Callable[[Iterable[str]], None],
) -> int:
    """Supervise in the background; returns when all is ready. Raises LocalError."""
    applied = begin(state, commands, settings, loaded, display.say)
    log = state.logs / "supervisor.log"
    arguments = [
        *("--state", str(state.root), "--host", settings.host, "--port", str(settings.port)),
        *("--timeout", str(settings.timeout), "--lock", str(lock)),
    ]
    with state.explained(), log.open("wb") as output:
        # The lock goes with its descriptor, so that there is no moment without an owner.
        process = subprocess.Popen(
            commands.supervisor(arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(lock,),
            start_new_session=True,
            env=os.environ | {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"},
        )
    os.close(lock)
    try:
        status = asyncio.run(_follow_child(process, state, applied, display))
    except BaseException:
        # Ctrl-C before it is ready ends the run, as it does in the foreground.
        display.close()
        if process.poll() is None:
            display.say("Stopping.")
            process.terminate()
            process.wait()
        raise
    process.returncode = 0  # it goes on without us; there is nothing to wait for
    out(ready_lines(status, loaded, applied))
    display.say(f"Runs in the background (pid {process.pid}). `slipway down` stops it.")
    return 0


async def _follow_child(
    process: "subprocess.Popen[bytes]", state: StateFolder, applied: Applied, display: Display
) -> dict[str, Any]:
    """Follow, and notice a supervisor that ended before it could report anything."""
    following = asyncio.create_task(followed(state, applied, display, timeout=0))
    while True:
        done, _ = await asyncio.wait({following}, timeout=0.2)
        if done:
            return following.result()
        if process.poll() is not None:
            await asyncio.wait({following}, timeout=1)
            if following.done():
                return following.result()
            following.cancel()
            raise StartFailedError(
                f"The supervisor ended with exit code {process.returncode}: see {state.logs}."
            )


@dataclass(frozen=True)
class Down:
    """What `slipway down` stopped."""

    run: int | None
    """The supervisor's pid, if one was running."""
    leftovers: tuple[str, ...]
    """Names of processes that were left without a supervisor."""


def down(state: StateFolder, say: Say, patience: float = 120) -> Down:
    """Stop the run of this state folder, and what an earlier one left. Raises LocalError.

    After `patience` seconds the supervisor is killed, and its children with it.
    """
    if not state.root.is_dir():
        return Down(None, ())
    supervisor, lock = _supervisor_or_lock(state)
    if supervisor is not None:
        say(f"Stopping the run (pid {supervisor.pid}): what runs is finished.")
        _end(supervisor, say, patience)
        lock = _supervisor_or_lock(state)[1]
    try:
        left = leftovers(state)
        with state.explained():
            state.write_json(state.endpoints, {})
            state.write_json(state.processes, {"processes": []})
            if observed(state)["supervisor"]["message"] == KILLED:
                state.write_json(state.status, {})
    finally:
        if lock is not None:
            os.close(lock)
    return Down(supervisor.pid if supervisor else None, tuple(each.name for each in left))


def _supervisor_or_lock(state: StateFolder) -> tuple[Identity | None, int | None]:
    """The supervisor, or its lock where there is none: one that has just begun has no status yet."""
    for _ in range(100):
        with state.explained():
            lock = state.try_lock()
        if lock is not None:
            return None, lock
        supervisor = supervisor_of(state.read_json(state.status))
        if supervisor is not None:
            return supervisor, None
        time.sleep(0.1)
    raise StateError(f"Another `slipway` is busy with the state folder {state.root}: try again.")


def _end(supervisor: Identity, say: Say, patience: float) -> None:
    with suppress(ProcessLookupError):
        os.kill(supervisor.pid, signal.SIGTERM)
    began = time.monotonic()
    while supervisor.alive():
        if time.monotonic() - began > patience:
            say("It does not stop and is killed.")
            with suppress(ProcessLookupError):
                os.kill(supervisor.pid, signal.SIGKILL)
            patience = float("inf")
        time.sleep(0.05)
