"""Follows a run's files and sends what is new to one tracker, until its standard input ends.

Started by the process that does the stage (`recording`); exit codes: 0 all was taken, 1 something was not.
"""

import argparse
import logging
import select
import sys
from pathlib import Path

from slipway.training.runs import STAGES, Run
from slipway.training.tracking.following import Follower
from slipway.training.tracking.trackers import NAMES, tracker

_EVERY_S = 1.0
_LONGEST_S = 60.0
log = logging.getLogger("slipway.tracking")


def main() -> int:
    """Follow the run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m slipway.training.tracking", description=__doc__)
    parser.add_argument("tracker", choices=NAMES)
    parser.add_argument("--run", type=Path, required=True, help="the run's folder")
    parser.add_argument("--stage", choices=STAGES, required=True)
    given = parser.parse_args()
    logging.basicConfig(level="WARNING", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    follower = Follower(Run(given.run), given.stage, given.tracker, lambda: tracker(given.tracker))
    wait = _EVERY_S
    while not _ended(wait):
        # A tracker that is away is asked less and less often.
        wait = _EVERY_S if _sent(follower) else min(2 * wait, _LONGEST_S)
    return 0 if _sent(follower, last=True) else 1


def _ended(seconds: float) -> bool:
    """Wait for the end of the input, so long at most."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and not sys.stdin.read(1)


def _sent(follower: Follower, *, last: bool = False) -> bool:
    try:
        follower.send(last=last)
    except Exception as error:
        log.warning("%s: %s", type(error).__name__, str(error)[:500])
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
