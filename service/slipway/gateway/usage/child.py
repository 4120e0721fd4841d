"""Keeps the recorder's process running beside the gateway: SQL takes nothing from the gateway's own core."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass

from slipway.gateway.logs import JSONLog
from slipway.gateway.usage.journal import Journal
from slipway.gateway.usage.process import Task

_LOOK_EVERY = 1.0
_LONGEST_BACKOFF = 10.0


@dataclass(slots=True)
class RecorderChild:
    """Starts it, and again when it ends."""

    journal: Journal
    task: Task
    log: JSONLog
    _process: "subprocess.Popen[bytes] | None" = None

    async def run(self) -> None:
        """Until cancelled."""
        try:
            self.journal.start()
        except (
            OSError
        ) as error:  # The journal tries again with each request, and refuses those it cannot take.
            self.log.write("error", "usage_journal", f"cannot be made: {error}")
        pause = 0.5
        while True:
            try:
                process = self._start()
            except OSError as error:
                self.log.write("error", "usage_recorder", f"cannot be started: {error}")
            else:
                began = asyncio.get_running_loop().time()
                while process.poll() is None:  # noqa: ASYNC110 - a process gives no event
                    await asyncio.sleep(_LOOK_EVERY)
                self._close()
                self.log.write(
                    "error", "usage_recorder", f"ended with {process.returncode}; starting it again"
                )
                if asyncio.get_running_loop().time() - began > 60:
                    pause = 0.5
            await asyncio.sleep(pause)
            pause = min(_LONGEST_BACKOFF, 2 * pause)

    async def finish(self, seconds: float) -> None:
        """End the journal and give the process so long to record the rest; what it leaves is kept on disk."""
        self.journal.end()
        process = self._process
        if process is None:
            return
        self._close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while process.poll() is None:  # noqa: ASYNC110 - a process gives no event
                    await asyncio.sleep(0.02)

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "slipway.gateway.usage"]
        process = self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stdin is not None  # noqa: S101 - for the type checker
        with suppress(OSError):
            process.stdin.write(self.task.line())
            process.stdin.flush()
        return process

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
