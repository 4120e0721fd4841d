"""What the start of every engine does, whatever its runtime: fetch, tell why it failed, stop when asked."""

import logging
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

from slipway.engine import reports
from slipway.engine.failures import explain
from slipway.engine.options import EngineOptions
from slipway.sources import fetch
from slipway.sources.errors import SourceError
from slipway.sources.progress import Progress


def answer_signals() -> None:
    """End the start at once on SIGTERM and SIGINT."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _stop_at_once)


def fetch_model(options: EngineOptions) -> int:
    """Bring the model and its adapters into the cache, and no more; the exit code."""
    reports.configure_logging()
    answer_signals()
    path, adapters = Fetch(options).result()
    reports.write("fetched", f"{options.source} is at {path}", path=str(path), adapters=sorted(adapters))
    return 0


def fail(error: BaseException, first: str = "", runtime: str = "vLLM") -> int:
    """Report why the start failed; the exit code."""
    logging.getLogger("slipway.engine").debug("The start failed", exc_info=error)
    reason, message = explain(error, first, runtime)
    reports.failed(reason, message)
    return 2 if reason == "WrongArguments" else 1


class Fetch:
    """Fetches model and adapters in a thread, as downloads wait for the network and imports for the CPU.

    A source that cannot be had ends the process at once, not after the import.
    """

    def __init__(self, options: EngineOptions) -> None:
        """Begin with the model of `options`, then its adapters."""
        self._sources = {"": options.source, **options.adapters}
        self._brought = options.brought
        self._paths: dict[str, Path] = {}
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for name, source in self._sources.items():
                self._paths[name] = fetch(source, progress=_report).path
            for name, source in self._brought.items():
                self._bring(name, source)
        except BaseException as error:
            with reports.WRITING:
                os._exit(fail(error))

    def _bring(self, name: str, source: str) -> None:
        try:
            self._paths[name] = fetch(source, progress=_report).path
        except SourceError as error:
            reports.write("adapter_left_out", f"{name} is served later: {error}", adapter=name)

    def result(self) -> tuple[Path, dict[str, Path]]:
        """The folder of the model and those of the adapters by name."""
        self._thread.join()
        paths = dict(self._paths)
        return paths.pop(""), paths


def _report(progress: Progress) -> None:
    """Pass a fetch's progress on as a line."""
    reports.progress(
        progress.stage,
        progress.message,
        done=progress.done,
        total=progress.total,
        unit=progress.unit,
        eta_s=progress.eta_s,
    )


def _stop_at_once(signum: int, _frame: object) -> None:
    """End a start that is under way: nothing runs yet that could be drained.

    vLLM's own answer, a KeyboardInterrupt, was seen to be lost while the engine core starts. A handler that
    drains takes this one's place when the engine serves.
    """
    for child in _descendants():
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    reports.write("stopped", f"Stopped by {signal.Signals(signum).name} before the start was complete")
    os._exit(0)


def _descendants(proc: Path = Path("/proc")) -> list[int]:
    """The processes below this one, children before grandchildren."""
    parents: dict[int, list[int]] = {}
    for stat in proc.glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(stat.parent.name))
    found = parents.get(os.getpid(), [])
    for pid in found:
        found.extend(parents.get(pid, []))
    return found
