"""Load on a Slipway by Locust's users, for a while, with a report: what `make loadtest` runs.

    python -m loadtests.loadtest --locust .venvs/loadtest/bin/locust [--url URL --key KEY] [USER ...]

Without a URL it starts one of its own with real models (loadtest.yaml) and stops it at the end; lengths are
then cut to a sixth, as those models run on a CPU. Ends with Locust's code: 1 where anything failed.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
OBJECTS = HERE / "loadtest.yaml"
SMALL = {"SLIPWAY_LOADTEST_SCALE": "0.16", "SLIPWAY_LOADTEST_LONGEST": "2000"}


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    options.report.parent.mkdir(parents=True, exist_ok=True)
    if options.url:
        return _drive(options, options.url, {"SLIPWAY_KEY": options.key})
    with tempfile.TemporaryDirectory(prefix="slipway-loadtest-") as name, _stack(Path(name)) as (url, key):
        return _drive(options, url, {**SMALL, "SLIPWAY_KEY": key})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    report = Path("build/loadtest") / time.strftime("%Y-%m-%dT%H-%M-%S.html")
    parser.add_argument("--locust", type=Path, required=True, help="Locust's program")
    parser.add_argument("--url", default="", help="a gateway that runs; none: start one")
    parser.add_argument("--key", default=os.environ.get("SLIPWAY_KEY", ""), help="its key; or $SLIPWAY_KEY")
    parser.add_argument("--users", type=int, default=8, help="at the same time")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--report", type=Path, default=report, help="the HTML file to write")
    parser.add_argument("user", nargs="*", help="Chat, Streaming, Embeddings, Classify; none: all")
    return parser.parse_args()


def _drive(options: argparse.Namespace, url: str, environment: dict[str, str]) -> int:
    command = [str(options.locust), "-f", str(HERE / "locustfile.py"), "--headless", "--host", url]
    command += ["--users", str(options.users), "--spawn-rate", str(options.users), "--only-summary"]
    command += ["--run-time", f"{options.seconds}s", "--stop-timeout", "60", "--html", str(options.report)]
    done = subprocess.run([*command, *options.user], env={**os.environ, **environment}, check=False)
    if options.report.exists():
        print(f"Report: {options.report.absolute()}")
    return done.returncode


@contextmanager
def _stack(folder: Path) -> Iterator[tuple[str, str]]:
    """A Slipway with the models of loadtest.yaml; gives its URL and a key."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    slipway = [sys.executable, "-m", "slipway"]
    state = ["--state", str(folder / "state")]
    try:
        up = [*slipway, "up", "-d", "-f", str(OBJECTS), "--port", str(port), *state]
        if code := subprocess.run(up, check=False).returncode:
            raise SystemExit(code)
        key = (folder / "state" / "secrets" / "apikey-loadtest").read_text().strip()
        yield f"http://127.0.0.1:{port}", key
    finally:
        subprocess.run([*slipway, "down", *state], check=False)


if __name__ == "__main__":
    sys.exit(main())
