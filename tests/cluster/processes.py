"""Running programs: commands that end, and daemons inside a node's namespaces that stay."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cluster.control_groups import daemons_files
from cluster.places import LOGS, STATE

PIDS = STATE / "pids"
POLL = 0.02
"""Seconds between two looks at something awaited."""


class ClusterError(Exception):
    """A step failed. The message says what to do or where to look."""


def run(
    *command: str | Path,
    input: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """What `command` prints. Raises ClusterError with the end of its complaint where it fails."""
    done = subprocess.run(
        command, input=input, capture_output=True, env={**os.environ, **(env or {})}, cwd=cwd
    )
    if done.returncode:
        complaint = (done.stderr or done.stdout).decode(errors="replace").strip()[-2000:]
        raise ClusterError(f"{' '.join(map(str, command))[:300]} ended with {done.returncode}: {complaint}")
    return done.stdout.decode()


def wait(what: str, ready: Callable[[], bool], seconds: float, hint: str = "") -> None:
    """Return once `ready`. Raises ClusterError after `seconds`."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise ClusterError(f"{what}: not within {seconds:g} s. {hint or f'The logs are in {LOGS}.'}")
        time.sleep(POLL)


def start(name: str, command: Sequence[str | Path]) -> None:
    """Start a daemon of its own session in the cluster's control group. It outlives this process.

    The command may begin with `enter(…)`. Its number is kept for `pid_of` and `stop`.
    """
    PIDS.mkdir(parents=True, exist_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}.log"
    # A process that writes 0 there moves itself; everything that it becomes or starts follows.
    inner = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit; shift; done; shift; exec "$@"'
    outer = 'log=$1; shift; setsid sh -c "$@" >>"$log" 2>&1 </dev/null & echo $!'
    pid = int(run("sh", "-c", outer, "sh", log, inner, "sh", *daemons_files(), "--", *command))
    (PIDS / name).write_text(f"{pid} {_born(pid)}")


def enter(pid: int, *, mounts: bool = False) -> list[str]:
    """The beginning of a command that is to run in the network namespace of `pid`."""
    return ["nsenter", f"--target={pid}", "--net", *(["--mount"] if mounts else []), "--"]


def pid_of(name: str) -> int | None:
    """The daemon's number while it lives."""
    try:
        pid, born = (PIDS / name).read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if _born(int(pid)) == born else None


def living(names: Iterable[str]) -> bool:
    return all(pid_of(name) is not None for name in names)


def stop(name: str, patience: float = 10) -> None:
    """End a daemon: politely, and after `patience` seconds by force. Nothing happens if it is not there."""
    if (pid := pid_of(name)) is None:
        return
    os.kill(pid, signal.SIGTERM)
    try:
        wait(f"the end of {name}", lambda: pid_of(name) is None, patience)
    except ClusterError:
        os.kill(pid, signal.SIGKILL)
        wait(f"the end of {name}", lambda: pid_of(name) is None, patience)


def _born(pid: int) -> str:
    """When a process began, in clock ticks, so that a number used again is not taken for it; '' if gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
