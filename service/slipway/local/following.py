"""Watching a local run from outside, by its `status.json`: until it is ready, failed or gone."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from slipway.local.errors import NotRunningError, StartFailedError
from slipway.local.folders import StateFolder
from slipway.local.processes import Identity

KILLED = "The last run was killed; `slipway down` stops what it may have left."


def supervisor_of(status: dict[str, Any]) -> Identity | None:
    """The supervisor that wrote this status, if it still runs."""
    about = status.get("supervisor")
    if not isinstance(about, dict):
        return None
    try:
        identity = Identity(int(about["pid"]), int(about["startTime"]))
    except (KeyError, TypeError, ValueError):
        return None
    return identity if identity.alive() else None


@dataclass(frozen=True)
class Line:
    """What is shown of one replica while it starts."""

    name: str
    state: str
    message: str
    settled: bool


def lines(status: dict[str, Any]) -> list[Line]:
    """One line for each process of a status."""
    found = []
    for service in status.get("services", []):
        old = {row["revision"] for row in service["processes"]} - {service["revision"]}
        for row in service["processes"]:
            name = f"{row['name']} ({row['revision'][:6]})" if old else row["name"]
            settled = row["state"] in ("Ready", "Draining", "Stopping")
            # Why it failed is the error that ends the command.
            message = "" if row["state"] == "Failed" else row["message"]
            found.append(Line(name, row["state"], message, settled))
    gateway = status.get("gateway")
    if gateway:
        found.append(Line("gateway", gateway["state"], gateway["message"], gateway["state"] == "Ready"))
    return found


async def follow(
    state: StateFolder,
    sequence: int,
    show: Callable[[list[Line]], None],
    timeout: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """The status once everything that was applied as `sequence` is ready.

    `show` gets the state of all processes at each look; `timeout` in seconds, 0 for none. Raises
    StartFailedError or NotRunningError.
    """
    began = clock()
    while True:
        status = state.read_json(state.status)
        alive = supervisor_of(status) is not None
        about = status.get("supervisor") or {}
        taken_up = int(status.get("applied") or 0) >= sequence
        if taken_up and about.get("state") == "Failed":
            raise StartFailedError(str(about["message"]))
        if alive and taken_up and about.get("state") != "Stopping":
            show(lines(status))
            services = status.get("services", [])
            for service in services:
                stuck = service["reason"] in ("StartFailed", "BackOff")
                if stuck and about.get("state") == "Running":
                    raise StartFailedError(f"{service['message']}")
            ready = all(service["state"] in ("Ready", "Stopping") for service in services)
            if ready and (status.get("gateway") or {}).get("state") == "Ready":
                return status
        elif not alive and clock() - began > 10:
            raise NotRunningError("The supervisor ended: see the last lines of logs/ in the state folder.")
        elif about.get("state") == "Stopped" and not alive and taken_up:
            raise NotRunningError("The run was stopped before all was ready.")
        if timeout and clock() - began > timeout:
            waiting = [f"{line.name}: {line.message}" for line in lines(status) if not line.settled]
            raise StartFailedError(f"Not ready after {timeout:.0f} s (--timeout). {'; '.join(waiting)}")
        await sleep(0.2)


def observed(state: StateFolder) -> dict[str, Any]:
    """The status as it is true now, with `ready`: what a supervisor wrote counts while it lives."""
    status = state.read_json(state.status)
    about = status.get("supervisor") or {}
    if supervisor_of(status) is None:
        message = str(about.get("message") or "")
        if about.get("state") not in (None, "Stopped", "Failed"):
            message = KILLED
        status = {
            "supervisor": {
                "pid": None,
                "startTime": None,
                "startedAt": None,
                "state": "Failed" if about.get("state") == "Failed" else "Stopped",
                "message": message,
            },
            "applied": status.get("applied", 0),
            "gateway": {
                **{"url": (status.get("gateway") or {}).get("url"), "state": "Stopped", "reason": ""},
                **{"message": "", "pid": None, "restarts": 0, "startedAt": None, "log": ""},
            },
            "services": [],
        }
    services = status["services"]
    ready = (
        status["supervisor"]["state"] == "Running"
        and status["gateway"]["state"] == "Ready"
        and all(service["state"] in ("Ready", "Stopping") for service in services)
    )
    return {"ready": ready, **status}
