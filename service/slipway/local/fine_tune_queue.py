"""Carries out the FineTunes of a state folder, one at a time, the oldest first.

All that it knows lies in files: the objects (objects/finetune-NAME.yaml), what came of their stages (the
run's folder in the workspace), and what it says of them (finetunes/NAME/status.json, for the gateway). Killed
at any moment, the next one goes on where the files are.
"""

import asyncio
import fcntl
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from slipway.local.fine_tune_status import observed
from slipway.local.folders import StateFolder
from slipway.local.processes import Child, Launcher
from slipway.local.training import STOPPED, cancel, is_cancelled, is_running
from slipway.objects import FineTune, FineTuneStatus
from slipway.objects.loading import LoadError, load_file
from slipway.training.runs import STAGES, Outcome, Run
from slipway.training.workspaces import VARIABLE, Workspace

TRIES = 3
"""Times that a run is begun whose process ends without saying what came of it."""
PATIENCE = 60.0
"""Seconds that a run has to reach a point where stopping loses nothing; then it is killed."""
_ENDED = ("Succeeded", "Failed", "Cancelled")
_LOG_TAIL = 4096
_FIRST = datetime.fromtimestamp(0, UTC)


def _changed_at(run: Run) -> int:
    """When a file was last put into a run's folder, in nanoseconds since 1970; 0: there is none."""
    try:
        return run.folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def command(file: Path) -> list[str]:
    """Carries out the FineTune in `file`."""
    return [sys.executable, "-m", "slipway", "finetune", "run", "-f", str(file)]


@dataclass(slots=True)
class _Running:
    """The run that a process works on."""

    name: str
    child: Child
    ended: "asyncio.Future[int]"
    asked_at: float | None = None
    """When it was asked to stop."""


@dataclass(slots=True)
class FineTuneQueue:
    """The queue of one state folder."""

    state: StateFolder
    workspace: Workspace
    say: Callable[[str], None]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    command: Callable[[Path], list[str]] = command
    tick: float = 0.5
    """Seconds between two looks."""
    clock: Callable[[], float] = time.monotonic
    _launcher: Launcher = field(default_factory=Launcher)
    _running: _Running | None = None
    _tries: dict[str, int] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _read: dict[Path, tuple[tuple[int, int], FineTune]] = field(default_factory=dict)
    _said: dict[str, str] = field(default_factory=dict)
    _ended: dict[str, tuple[FineTune, int, FineTuneStatus]] = field(default_factory=dict)
    """What is known of those that have ended, as long as nothing of theirs changes."""

    async def run(self) -> None:
        """Work until cancelled; what runs is stopped then, and goes on with the next queue."""
        async with self._alone():
            try:
                while True:
                    try:
                        self.look()
                    except (OSError, ValueError) as error:  # A full disk, a run's file that holds nonsense.
                        self._tell("", f"FineTunes: {type(error).__name__}: {error}")
                    await self._rest()
            finally:
                await self._stop()
                self._launcher.close()

    def look(self) -> None:
        """Do once what is to be done."""
        self._reap()
        there = self._objects()
        statuses = {name: self._status(each) for name, each in there.items()}
        self._steer(there)
        if self._running is None:
            name = next(iter(self._waiting(there, statuses)), None)
            if name is not None:
                self._begin(there[name])
                statuses[name] = self._status(there[name])
        for name, status in statuses.items():
            self._publish(name, status)

    # --- what is there ------------------------------------------------------------------------------

    def _objects(self) -> dict[str, FineTune]:
        """The FineTunes by name, the oldest first."""
        found: dict[Path, tuple[tuple[int, int], FineTune]] = {}
        for path in self.state.objects.glob("finetune-*.yaml"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            mark = (stat.st_mtime_ns, stat.st_ino)
            known = self._read.get(path)
            if known is not None and known[0] == mark:
                found[path] = known
                continue
            try:
                (made,) = load_file(path).fine_tunes
            except (LoadError, ValueError) as error:
                self._tell(path.name, f"{path.name} cannot be taken up: {error}")
                continue
            found[path] = (mark, made)
        self._read = found
        every = [made for _, made in found.values()]
        every.sort(key=lambda each: (each.metadata.creation_timestamp or _FIRST, each.metadata.name))
        return {each.metadata.name: each for each in every}

    def _status(self, fine_tune: FineTune) -> FineTuneStatus:
        name = fine_tune.metadata.name
        run = self._run(name)
        known = self._ended.get(name)
        mark = (fine_tune, _changed_at(run))
        if known is not None and known[:2] == mark:
            return known[2]
        mine = self._running is not None and self._running.name == name
        # A stage's process outlives its runner where that was killed, and works on.
        status = observed(fine_tune, run, running=mine or is_running(run))
        if status.phase in _ENDED:
            self._ended[name] = (*mark, status)
        return status

    def _run(self, name: str) -> Run:
        return Run(self.workspace.run(name))

    def _waiting(self, there: Mapping[str, FineTune], statuses: Mapping[str, FineTuneStatus]) -> list[str]:
        """Those that can be begun, the oldest first."""
        now = self.clock()
        return [
            name
            for name, each in there.items()
            if statuses[name].phase in ("Pending", "Suspended")
            and not (each.spec.suspend or each.spec.cancel)
            and self._not_before.get(name, now) <= now
        ]

    # --- processes ----------------------------------------------------------------------------------

    def _begin(self, fine_tune: FineTune) -> None:
        name = fine_tune.metadata.name
        path = self.state.objects / f"finetune-{name}.yaml"
        environment = {
            **self.environment,
            VARIABLE: str(self.workspace.root),
            "SLIPWAY_STATE": str(self.state.root),
        }
        log = self.state.logs / f"finetune-{name}.log"
        try:
            child = self._launcher.start(self.command(path), log, environment)
        except OSError as error:
            self._failed(name, f"It cannot be started: {error}.")
            return
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        child.on_exit(ended.set_result)
        self._running = _Running(name, child, ended)
        self.say(f"FineTune {name} begins; its log: {log}")

    def _steer(self, there: Mapping[str, FineTune]) -> None:
        """Have the process stop where its FineTune is not to go on."""
        for name, each in there.items():
            run = self._run(name)
            if each.spec.cancel and run.folder.exists() and not is_cancelled(run):
                cancel(run)
        running = self._running
        if running is None:
            return
        wanted = there.get(running.name)
        if wanted is None or wanted.spec.suspend or wanted.spec.cancel:
            self._ask(running)

    def _ask(self, running: _Running) -> None:
        if running.asked_at is None:
            running.asked_at = self.clock()
            running.child.terminate()
        elif self.clock() - running.asked_at > PATIENCE:
            running.child.kill()

    def _reap(self) -> None:
        """See what became of the process, if it has ended."""
        running = self._running
        if running is None or not running.ended.done():
            return
        self._running = None
        self._launcher.forget(running.child.pid)
        code, name = running.ended.result(), running.name
        outcomes = [self._run(name).outcome(stage) for stage in STAGES]
        told = any(outcome is not None and outcome.state == "Failed" for outcome in outcomes)
        if code in (0, STOPPED) or told or running.asked_at is not None:
            self._tries.pop(name, None)
            return
        tries = self._tries[name] = self._tries.get(name, 0) + 1
        if tries >= TRIES:
            self._failed(name, f"Its process ended {tries} times without a result. {self._end_of_log(name)}")
        else:
            self._not_before[name] = self.clock() + 2.0**tries
            self.say(f"FineTune {name}: its process ended with code {code}; it is begun again.")

    def _failed(self, name: str, message: str) -> None:
        """Write down that a run cannot go on, where it would have said so itself."""
        run = self._run(name)
        run.folder.mkdir(parents=True, exist_ok=True)
        fine_tune = self._objects().get(name)
        stages = fine_tune.stages if fine_tune is not None else ("prepare",)
        stage = next((each for each in stages if run.outcome(each) is None), stages[-1])
        run.end(Outcome(stage=stage, state="Failed", reason="Crashed", message=message.strip()))
        run.say(message.strip(), "error")

    def _end_of_log(self, name: str) -> str:
        try:
            data = (self.state.logs / f"finetune-{name}.log").read_bytes()[-_LOG_TAIL:]
        except OSError:
            return ""
        lines = [line for line in data.decode(errors="replace").splitlines() if line.strip()]
        return f"Its log ends with: {lines[-1][:500]}" if lines else ""

    async def _rest(self) -> None:
        """Until the next look; an end of the process is looked at once."""
        if self._running is None:
            await asyncio.sleep(self.tick)
        else:
            await asyncio.wait([self._running.ended], timeout=self.tick)

    async def _stop(self) -> None:
        running = self._running
        if running is None:
            return
        running.child.terminate()
        await asyncio.wait([running.ended], timeout=10)
        if not running.ended.done():
            running.child.kill()
            await asyncio.wait([running.ended], timeout=10)
        self._launcher.forget(running.child.pid)

    # --- what is told -------------------------------------------------------------------------------

    def _publish(self, name: str, status: FineTuneStatus) -> None:
        document = {
            "status": status.model_dump(mode="json", by_alias=True, exclude_none=True),
            "run": str(self._run(name).folder.absolute()),
        }
        folder = self.state.root / "finetunes" / name
        text = json.dumps(document, indent=1)
        if self._said.get(name) == text and folder.exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.state.write(folder / "status.json", text + "\n")
        self._said[name] = text

    def _tell(self, key: str, sentence: str) -> None:
        if self._said.get(key) != sentence:
            self._said[key] = sentence
            self.say(sentence)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Held while this queue works: of two over one folder the second waits."""
        handle = os.open(self.state.root / "finetunes.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(self.tick)
            yield
        finally:
            os.close(handle)
