"""The supervisor of `slipway up --detach`: `python -m slipway.local.background --state DIR … --lock FD`."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from slipway.local.commands import Commands, Installed
from slipway.local.folders import StateFolder
from slipway.local.supervisor import Settings, Supervisor


def supervise(argv: list[str], commands: Commands) -> int:
    """Run to the end; the inherited descriptor `--lock` is the supervisor's lock."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--lock", type=int, required=True)
    asked = parser.parse_args(argv)
    os.set_inheritable(asked.lock, False)
    settings = Settings(asked.host, asked.port, asked.timeout)
    supervisor = Supervisor(StateFolder(asked.state), commands, settings, lambda message: print(message))
    return asyncio.run(_run(supervisor))


async def _run(supervisor: Supervisor) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    await supervisor.run()
    if supervisor.failure:
        print(supervisor.failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:], Installed(os.environ)))
