"""Child processes: started in groups of their own, watched by pidfd, known again by pid and start time."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Identity:
    """A process that can be told from a later one with the same pid."""

    pid: int
    start: int
    """Clock ticks between boot and the process's start, from /proc/PID/stat."""

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Of the process `pid`, or None where there is none (a zombie is none)."""
        fields = _stat(pid)
        return cls(pid, int(fields[19])) if fields and fields[0] != "Z" else None

    def alive(self) -> bool:
        return Identity.of(self.pid) == self


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (after the name, which may hold anything)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def groups_members(groups: Collection[int]) -> dict[int, list[Identity]]:
    """The living processes of each of the process groups."""
    found: dict[int, list[Identity]] = {group: [] for group in groups}
    for entry in os.listdir("/proc"):  # noqa: PTH208  (names are all that is needed)
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields and fields[0] != "Z" and int(fields[2]) in found:
                found[int(fields[2])].append(Identity(int(entry), int(fields[19])))
    return found


def kill_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group; one that is gone is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


class Child:
    """A running child and all that it started, as one process group."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen
        self.pid = popen.pid
        self.identity = Identity.of(popen.pid)
        self._pidfd = os.pidfd_open(popen.pid)

    def on_exit(self, call: Callable[[int], None]) -> None:
        """Call `call(returncode)` in the running event loop when the child has ended."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            # Its pid is not free before it is waited for, so the group can be no other's.
            kill_group(self.pid, signal.SIGKILL)
            call(self._popen.wait())

        loop.add_reader(self._pidfd, ended)

    def terminate(self) -> None:
        """Ask it to finish. The leader alone: it knows in which order its children stop."""
        with suppress(ProcessLookupError):
            self._popen.send_signal(signal.SIGTERM)
        # One that is stopped (SIGSTOP) hears nothing before it goes on.
        with suppress(ProcessLookupError):
            self._popen.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        kill_group(self.pid, signal.SIGKILL)


class Launcher:
    """Starts children that do not outlive this process, not even if it is SIGKILLed."""

    def __init__(self) -> None:
        self._sentinel: subprocess.Popen[bytes] | None = None

    def start(self, argv: Sequence[str], log: Path, environment: Mapping[str, str]) -> Child:
        """Run `argv` in a session of its own, its output appended to `log`. Raises OSError."""
        sentinel = self._ensure_sentinel()
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_HERE / "child.py"), str(os.getpid()), *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                start_new_session=True,
            )
        self._tell(sentinel, f"+{popen.pid}\n")
        return Child(popen)

    def forget(self, pid: int) -> None:
        """The child `pid` and its group are gone."""
        if self._sentinel is not None:
            self._tell(self._sentinel, f"-{pid}\n")

    def close(self) -> None:
        """End the sentinel; the children must be gone."""
        if self._sentinel is not None and self._sentinel.stdin is not None:
            with suppress(OSError):
                self._sentinel.stdin.close()
            self._sentinel.wait()
            self._sentinel = None

    def _ensure_sentinel(self) -> "subprocess.Popen[bytes]":
        if self._sentinel is None or self._sentinel.poll() is not None:
            self._sentinel = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_HERE / "sentinel.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        return self._sentinel

    def _tell(self, sentinel: "subprocess.Popen[bytes]", line: str) -> None:
        with suppress(OSError):
            if sentinel.stdin is not None:
                sentinel.stdin.write(line.encode())


@dataclass(frozen=True)
class Recorded:
    """A child as `processes.json` remembers it."""

    name: str
    group: int
    members: tuple[Identity, ...]

    def survivors(self) -> list[Identity]:
        """What still runs of it. A pid that another process has taken since is not among it."""
        living = [member for member in self.members if member.alive()]
        # While one of the remembered lives in the group, the group's number is no other's.
        if any(_stat(member.pid)[2:3] == [str(self.group)] for member in living):
            living += [member for member in groups_members([self.group])[self.group] if member not in living]
        return living

    def as_json(self) -> dict[str, object]:
        first = next((each for each in self.members if each.pid == self.group), None)
        return {
            "name": self.name,
            "pid": self.group,
            "startTime": first.start if first else 0,
            "members": [[member.pid, member.start] for member in self.members],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Recorded | None":
        try:
            members = tuple(Identity(int(pid), int(start)) for pid, start in value["members"])
            return cls(str(value["name"]), int(value["pid"]), members)
        except (KeyError, TypeError, ValueError):
            return None


def kill_leftovers(recorded: Iterable[Recorded]) -> list[Recorded]:
    """SIGKILL what still runs of earlier children; returns those of which something ran."""
    found = []
    for each in recorded:
        survivors = each.survivors()
        for member in survivors:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member.pid, signal.SIGKILL)
        if survivors:
            found.append(each)
    return found
