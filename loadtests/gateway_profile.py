"""What each part of the gateway costs: py-spy looks at it while clients keep one core busy.

    python -m loadtests.gateway_profile [--redis] [--streams]        or: make profile

Samples are summed by part: a sample belongs to the innermost frame that a part names. Time in the kernel
counts where the call was made, so `client's socket` and `engine's socket` are mostly writes.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from loadtests.overhead.drives import Clients, build, upstream
from loadtests.overhead.machines import cores
from loadtests.overhead.tables import write_between
from loadtests.overhead.targets import TARGETS, Ground, serving

PARTS = (
    ("engine's socket", ("relay/transport.py:_flush",)),
    ("client's socket", ("connections.py:flush",)),
    ("accounting", ("gateway/accounts.py", "gateway/sampled.py")),
    ("usage journal", ("gateway/usage/",)),
    ("metrics", ("gateway/metrics.py", "prometheus_client/")),
    ("log", ("gateway/logs.py",)),
    ("traces", ("gateway/tracing.py", "opentelemetry/")),
    ("limits", ("gateway/limits", "gateway/budgets", "redis/", "hiredis")),
    ("auth", ("gateway/auth.py", "gateway/catalog.py")),
    (
        "rules",
        ("gateway/parameters.py", "gateway/rules.py", "gateway/bounds.py", "gateway/pooling_parameters.py"),
    ),
    ("parse and serialise", ("gateway/requests.py",)),
    ("usage of the answer", ("relay/sse.py", "gateway/dialects/")),
    ("relay", ("gateway/relay/",)),
    (
        "server",
        (
            "uvicorn/",
            "gateway/connections.py",
            "gateway/turns.py",
            "gateway/outbox.py",
            "asyncio/",
            "gateway/frontdoor.py",
        ),
    ),
    ("serving", ("gateway/",)),
)
"""A part, and how its frames (file:function) look. The first that fits counts."""
OTHER = "event loop and kernel"
SAMPLES_A_SECOND = 500


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # As Ctrl-C: no server is left behind.
    core, other = cores()
    os.sched_setaffinity(0, {other})
    name = "slipway, Redis" if options.redis else "slipway"
    target = next(each for each in TARGETS if each.name == name)
    spy = Path(sys.executable).with_name("py-spy")
    with tempfile.TemporaryDirectory(prefix="slipway-profile-") as folder_name:
        folder = Path(folder_name)
        build(folder)
        raw = folder / "raw"
        with upstream(folder, other) as port:
            ground = Ground(core, other, folder, port, Path(sys.executable))
            with serving(target, ground) as server:
                command = [str(spy), "record", "--format", "raw", "--rate", str(SAMPLES_A_SECOND)]
                command += ["--output", str(raw), "--pid", str(server.pids[0]), "--duration", "3600"]
                clients = Clients(folder, other)
                with subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                ) as recorder:
                    time.sleep(1)
                    if options.streams:
                        clients.streams(server.port, server.pids, 256, int(options.seconds * 20), 20)
                    else:
                        clients.requests(server.port, server.pids, 32, 0.5, options.seconds)
                    recorder.send_signal(signal.SIGINT)
        if not raw.exists():
            raise SystemExit(
                "py-spy wrote nothing. It needs to be allowed to look at processes: run as root."
            )
        stacks = raw.read_text().splitlines()
    shares, functions = sum_up(stacks)
    total = sum(shares.values())
    what = f"{name}, {'256 streams' if options.streams else '32 connections'}"
    rows = [f"| {part} | {count / total:.1%} |" for part, count in shares.most_common()]
    about = f"{time.strftime('%Y-%m-%d')}, {what}, {total} samples of the busy event loop:"
    table = "\n".join([about, "", "| part | share |", "|---|---:|", *rows, ""])
    print(table)
    if options.docs:
        write_between(options.docs, "profile of streams" if options.streams else "profile", table)
    print("Functions, without what they call:")
    for function, count in functions.most_common(options.functions):
        print(f"  {count / total:6.1%}  {function}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--redis", action="store_true", help="limits in Redis")
    parser.add_argument("--streams", action="store_true", help="256 streams in place of whole answers")
    parser.add_argument("--docs", type=Path, help="write the table into this page (docs/performance.md)")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--functions", type=int, default=15, help="how many functions are listed")
    return parser.parse_args()


def sum_up(stacks: list[str]) -> tuple[Counter[str], Counter[str]]:
    """Samples by part, and by function, of py-spy's raw lines: `frame;frame;… count`, outermost first.

    Only the thread that runs the event loop counts.
    """
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for stack in stacks:
        text, _, count = stack.rpartition(" ")
        frames = [_frame(each) for each in text.split(";")]
        if not any(frame.endswith("runners.py:run") for frame in frames):
            continue
        functions[frames[-1]] += int(count)
        parts[_part(frames)] += int(count)
    return parts, functions


def _frame(written: str) -> str:
    """`name (file:line)` as `file:name`."""
    name, _, place = written.partition(" (")
    return f"{place.rpartition(':')[0]}:{name.rpartition('.')[2]}"


def _part(frames: list[str]) -> str:
    for frame in reversed(frames):
        if frame.endswith("runners.py:run"):
            break
        for part, patterns in PARTS:
            if any(pattern in frame for pattern in patterns):
                return part
    return OTHER


if __name__ == "__main__":
    sys.exit(main())
