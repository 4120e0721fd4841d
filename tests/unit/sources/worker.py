"""A process that fetches from a web server, once, or again and again with a kill at each possible moment.

Usage: python -m unit.sources.worker CACHE URL [sweep]

It prints one JSON object a line: each progress, then the result.
"""

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from slipway.sources.addresses import HubAddress
from slipway.sources.cache import Cache
from slipway.sources.downloads import download
from slipway.sources.fetching import Fetch, FetchedModel
from slipway.sources.origins import Job
from slipway.sources.progress import Meter, Progress
from unit.sources import models

ADDRESS = HubAddress("org/name")
CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}


class WebOrigin:
    """The files of `models.files()` from a web server, under the names that it has there."""

    def __init__(self, url: str, pinned: str = "web:1") -> None:
        self._url = url
        self._pinned = pinned

    def resolve(self, job: Job) -> str:
        return self._pinned

    def resolve_offline(self) -> str | None:
        return None

    def download(self, folder: Path, job: Job) -> Path:
        model = folder / "model"
        model.mkdir(exist_ok=True)
        files = models.files()
        meter = Meter(job.report, "download", sum(map(len, files.values())), "downloading name")
        for name, data in files.items():
            if not (model / name).exists():
                digest = f"sha256:{models.sha256(data)}"
                download(f"{self._url}/{name}", model / name, digest=digest, job=job, meter=meter)
        return model


def fetch(cache: Path, url: str, progress: Callable[[Progress], None] = lambda _: None) -> FetchedModel:
    store = Cache(cache, free=lambda _: 1 << 40)
    return Fetch("hf://org/name", ADDRESS, store, progress, origin=WebOrigin(url), retry_wait_s=0.001).run()


def sweep(cache: Path, url: str) -> None:
    """Fetch into CACHE/1, CACHE/2, …, each time in a process that dies just before its N-th change."""
    for kill_at in itertools.count(1):
        child = os.fork()
        if not child:
            die_before(kill_at)
            fetch(cache / str(kill_at), url)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            print(json.dumps({"killed": kill_at - 1}), flush=True)
            return


def die_before(kill_at: int) -> None:
    changes = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal changes
        if event not in CHANGES or (event == "open" and not _writes(arguments)):
            return
        changes += 1
        if changes == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def main() -> None:
    cache, url = Path(sys.argv[1]), sys.argv[2]
    if sys.argv[3:] == ["sweep"]:
        sweep(cache, url)
        return
    model = fetch(cache, url, lambda progress: print(json.dumps(asdict(progress)), flush=True))
    print(json.dumps({"path": str(model.path), "digest": model.digest}), flush=True)


if __name__ == "__main__":
    main()
