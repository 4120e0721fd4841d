"""A replica's process: how it is started, what it says, and why it ended."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from slipway.local.folders import StateFolder
from slipway.local.logs import Tail, bound, events, last_words
from slipway.local.plans import GATEWAY, Replica
from slipway.local.processes import Child, Identity, Launcher, Recorded
from slipway.local.progress import Progress
from slipway.objects.llmservices import LLMService


@dataclass
class Running:
    """A replica as the plan sees it, and the process behind it."""

    replica: Replica
    child: Child | None = None
    port: int = 0
    tail: Tail | None = None
    progress: Progress = field(default_factory=lambda: Progress(0))
    started_at: datetime | None = None
    reason: str = ""
    message: str = ""
    members: tuple[Identity, ...] = ()

    @property
    def name(self) -> str:
        """For people and for file names."""
        if self.replica.group == GATEWAY:
            return "gateway"
        return f"{self.replica.group}-{self.replica.index}-{self.replica.revision}"

    @property
    def label(self) -> str:
        """For people, in messages."""
        return "gateway" if self.replica.group == GATEWAY else f"{self.replica.group}/{self.replica.index}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}" if self.child is not None else ""

    def recorded(self) -> Recorded | None:
        if self.child is None:
            return None
        leader = (self.child.identity,) if self.child.identity else ()
        return Recorded(self.name, self.child.pid, (*leader, *(m for m in self.members if m not in leader)))

    def launch(
        self,
        argv: list[str],
        state: StateFolder,
        launcher: Launcher,
        environment: Mapping[str, str],
        now: float,
        wall: datetime,
    ) -> Child:
        """Start the process. Raises OSError."""
        log = state.logs / f"{self.name}.log"
        bound(log)
        self.tail = Tail(log)
        self.child = launcher.start(argv, log, environment)
        self.progress = Progress(now)
        self.started_at, self.reason, self.message, self.members = wall, "", "", ()
        return self.child

    def listen(self, now: float) -> None:
        """Take in what it wrote since the last look."""
        if self.tail is not None:
            for event in events(self.tail.read()):
                self.progress = self.progress.after(event, now)

    def explain(self, code: int) -> tuple[str, str]:
        """Reason and message of a process that ended with `code` (negative: by this signal)."""
        reason, words = last_words(self.tail.end()) if self.tail is not None else ("", "")
        log = self.tail.path if self.tail is not None else ""
        if reason:
            return reason, f"{words.rstrip()} (log: {log})"
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                how += ", as the kernel does when memory runs out"
        reason = "Killed" if code < 0 else "Exited"
        if not words:
            return reason, f"{how}; it wrote nothing to {log}"
        return reason, f"{how}; the end of {log}:\n{words}"


def environment_of(service: LLMService | None, engine_key: str) -> dict[str, str]:
    """The environment of an engine, or of the gateway where `service` is None."""
    environment = dict(os.environ)
    # `python -m slipway` finds the installed package, whatever lies in the current folder.
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}
    environment.pop("SLIPWAY_ENGINE_KEY", None)
    if service is not None:
        environment |= service.spec.engine.env | {"SLIPWAY_ENGINE_KEY": engine_key}
    return environment
