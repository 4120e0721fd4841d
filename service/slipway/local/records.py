"""What a supervisor writes into the state folder. A full disk stops nothing: it is said, and tried again."""

import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from slipway.local import plans
from slipway.local.folders import StateFolder
from slipway.local.logs import bound
from slipway.local.plans import GATEWAY, State
from slipway.local.replicas import Running
from slipway.objects.llmservices import LLMService

PROGRESS_EVERY_S = 0.5


class Records:
    """The files of one run: status, endpoints, processes, durations, logs."""

    def __init__(
        self,
        state: StateFolder,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state, self._say, self._clock = state, say, clock
        self._published: dict[str, Any] = {}
        self._published_at = 0.0
        self._unsaved = self._said = ""
        self._written: dict[Path, tuple[int, int, int] | None] = {}
        self._durations: dict[str, Any] = state.read_json(state.durations)

    def publish(self, report: dict[str, Any], force: bool = False) -> None:
        """Write status.json: at once where a state changed, less often for progress alone."""
        if report == self._published:
            return
        now = self._clock()
        news = force or _states(report) != _states(self._published)
        if not news and now - self._published_at < PROGRESS_EVERY_S:
            return
        if self._write(self._state.status, report):
            self._published, self._published_at = report, now

    def endpoints(self, services: Collection[str], running: Iterable[Running]) -> None:
        """Write endpoints.json: every service, and each of its engines that is not leaving."""
        endpoints: dict[str, list[dict[str, Any]]] = {name: [] for name in services}
        for each in running:
            replica = each.replica
            if replica.group != GATEWAY and replica.state not in plans.LEAVING and each.child is not None:
                ready = replica.state is State.READY
                entry = {"address": each.address, "revision": replica.revision, "ready": ready}
                endpoints.setdefault(replica.group, []).append(entry)
        self._write(self._state.endpoints, endpoints)

    def processes(self, running: Iterable[Running]) -> None:
        """Write processes.json."""
        recorded = [each.recorded() for each in running]
        value = {"processes": [each.as_json() for each in recorded if each is not None]}
        self._write(self._state.processes, value)

    def started(self, service: LLMService, running: Running, now: float) -> None:
        """Keep how long this start took, for the next one's ETA."""
        over = running.progress.enter("", now)
        self._durations[_start_key(service)] = dict(over.durations) | {"total": round(now - over.started, 1)}
        self._save(lambda: self._state.write_json(self._state.durations, self._durations))

    def last_start(self, service: LLMService) -> dict[str, float]:
        """How long the stages of the last such start took, in seconds."""
        value = self._durations.get(_start_key(service))
        if not isinstance(value, dict):
            return {}
        return {str(k): float(v) for k, v in value.items() if isinstance(v, int | float)}

    def bound_logs(self, running: Iterable[Running]) -> None:
        for each in running:
            if each.tail is not None:
                self._save(partial(bound, each.tail.path))

    def retry(self) -> bool:
        """Whether something was not saved since the last call, or is lost; it is to be written anew."""
        unsaved, self._unsaved = self._unsaved, ""
        lost = [path for path, signature in self._written.items() if _signature(path) != signature]
        for path in lost:
            del self._written[path]
            self._say(f"{path} was changed or removed by another hand; it is written anew.")
        if self._state.status in lost:
            self._published = {}
        return bool(unsaved or lost)

    def _write(self, path: Path, value: Any) -> bool:
        """Replace a file and remember what it looks like; whether that worked."""
        saved = self._save(lambda: self._state.write_json(path, value))
        if saved:
            self._written[path] = _signature(path)
        return saved

    def _save(self, write: Callable[[], None]) -> bool:
        """Whether `write` worked."""
        try:
            write()
        except OSError as error:
            self._unsaved = str(self._state.explain(error))
            if self._unsaved != self._said:
                self._say(self._unsaved)
            self._said = self._unsaved
            return False
        return True


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Tells a file from the one that another hand puts in its place; None if there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _start_key(service: LLMService) -> str:
    engine = service.spec.engine
    return " ".join((service.spec.model.source, engine.device, engine.dtype, str(engine.tensor_parallel)))


def _states(report: dict[str, Any]) -> object:
    """What of a report is worth a write at once."""
    return [
        report.get("supervisor"),
        report.get("applied"),
        report.get("gateway", {}).get("state"),
        [
            (
                service["name"],
                service["state"],
                [(row["state"], row["restarts"]) for row in service["processes"]],
            )
            for service in report.get("services", [])
        ],
    ]
