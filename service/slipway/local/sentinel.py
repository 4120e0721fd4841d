"""Kills what a SIGKILLed supervisor leaves behind: the process groups it had started.

Reads `+PID` and `-PID` lines from standard input, which only the supervisor holds open. When that ends,
however the supervisor ended, the groups that are still listed are killed. A parent-death signal reaches a
child alone; this reaches the child's children.
"""

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Follow the list to its end, then kill what is on it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        sign, pid = line[0], int(line[1:])
        if sign == "+":
            groups.add(pid)
        else:
            groups.discard(pid)
    for pid in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
