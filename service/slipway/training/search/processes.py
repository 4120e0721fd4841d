"""Trials as child processes, which share the machine's cores and GPUs fairly."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from slipway.training.runs import write_atomically
from slipway.training.search.studies import Assignment, Ended
from slipway.training.search.trial import STOPPED, Result

COMMAND = (sys.executable, "-m", "slipway.training.search.trial")
_GRACE = 120.0
"""Seconds that a trial has to write its checkpoint when it is asked to stop."""
_LINE = 1 << 20
"""Bytes of a report at most."""


class Processes:
    """Does trials as child processes.

    Args:
        folder: of all trials; each gets one of its name in it.
        document: what a trial's `trial.json` holds beside its parameters.
        shares: environment variables of each place, as `shares` gives them.
        command: what is run, with `--folder FOLDER` behind it.
        grace_s: seconds until a trial that was asked to stop is killed; it then goes on from its checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        document: Mapping[str, Any],
        shares: Sequence[Mapping[str, str]],
        command: Sequence[str] = COMMAND,
        grace_s: float = _GRACE,
    ) -> None:
        self._folder, self._document, self._shares = folder, document, shares
        self._command, self._grace = command, grace_s

    async def __call__(
        self,
        assignment: Assignment,
        place: int,
        report: Callable[[int, Mapping[str, float]], bool],
        stop: asyncio.Event,
    ) -> Ended | None:
        """Do a trial; None where it was stopped and is to be begun again."""
        folder = self._folder / assignment.name
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "result.json").exists():
            document = {**self._document, "parameters": assignment.parameters}
            write_atomically(folder / "trial.json", json.dumps(document, indent=1))
            code = await self._run(folder, self._shares[place], report, stop)
            if not (folder / "result.json").exists():
                return None if code == STOPPED or stop.is_set() else _died(code, folder)
        result = Result.model_validate_json((folder / "result.json").read_bytes())
        if result.state == "Running":
            raise AssertionError("a result is that of a trial that has ended")
        return Ended(result.state, result.metrics, result.reason, result.message, result.seconds)

    async def _run(
        self,
        folder: Path,
        share: Mapping[str, str],
        report: Callable[[int, Mapping[str, float]], bool],
        stop: asyncio.Event,
    ) -> int:
        child = await asyncio.create_subprocess_exec(
            *self._command,
            "--folder",
            str(folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **share, "PYTHONSAFEPATH": "1"},
            limit=_LINE,
            start_new_session=True,  # Ctrl-C reaches the search, which asks its trials to stop.
        )
        stopping = asyncio.create_task(self._stop(child, stop))
        try:
            await _answer(child, report)
            return await child.wait()
        finally:
            stopping.cancel()
            if child.returncode is None:
                child.kill()
                await child.wait()

    async def _stop(self, child: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
        await stop.wait()
        with suppress(ProcessLookupError):
            child.terminate()
            await asyncio.sleep(self._grace)
            child.kill()


def shares(parallelism: int, cores: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """Environment variables for each of the trials that run at the same time.

    Args:
        parallelism: how many of them.
        cores: that the search may use.
        gpus: the devices, as CUDA_VISIBLE_DEVICES names them; trials take turns where they are fewer.
    """
    places = []
    for place in range(parallelism):
        threads = str(max(1, cores // parallelism + (place < cores % parallelism)))
        share = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
        if gpus and parallelism > 1:
            share["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[place::parallelism]) or gpus[place % len(gpus)]
        places.append(share)
    return places


def found_cores(limit: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores that this process may use: of its affinity, and of its control group's limit."""
    cores = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        quota, period = limit.read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def found_gpus(
    environ: Mapping[str, str] = os.environ, driver: Path = Path("/proc/driver/nvidia/gpus")
) -> list[str]:
    """GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if (chosen := environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [device for device in chosen.split(",") if device not in ("", "-1")]
    return [str(index) for index in range(len(list(driver.iterdir())))] if driver.is_dir() else []


async def _answer(
    child: asyncio.subprocess.Process, report: Callable[[int, Mapping[str, float]], bool]
) -> None:
    """Take in a trial's evaluations and tell it whether to go on, until it says no more."""
    reader, writer = child.stdout, child.stdin
    if reader is None or writer is None:
        raise ValueError("a trial is begun with pipes")
    while line := await reader.readline():
        if not line.endswith(b"\n"):
            return
        document = json.loads(line)
        verdict = report(document["evaluation"], document["metrics"])
        writer.write(json.dumps(verdict).encode() + b"\n")
        with suppress(ConnectionError):
            await writer.drain()


def _died(code: int, folder: Path) -> Ended:
    """Of a trial that left no result."""
    if code == -signal.SIGKILL:
        return Ended(
            "Failed", {}, "Killed", "The process was killed, as the kernel does where memory is short."
        )
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
    return Ended("Failed", {}, "Crashed", f"The process ended {how}; see {folder / 'log.txt'}.")
