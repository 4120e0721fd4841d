"""What the gateway costs: requests a second, added latency, CPU for each streamed event, memory.

    python -m loadtests.gateway_overhead [--json FILE]        or: make bench

One run measures the bare upstream, two relays to compare with, this gateway in its variants, LiteLLM's proxy
and vllm-router, in turn and on the same core; upstream, clients and Redis have another core to themselves.
Speeds of machines differ, and that of one machine from day to day: read the ratios. A round measures every
target once; the median over the rounds is printed, ratios are medians of each round's ratio.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loadtests.overhead.drives import Clients, Load, build, upstream
from loadtests.overhead.machines import cores, describe
from loadtests.overhead.tables import Results, demands, tables, write_between
from loadtests.overhead.targets import ROOT, TARGETS, CannotRunError, Ground, Target, serving, settle


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    connections: tuple[int, ...] = (1, 32, 256, 2000)
    rounds: int = 3
    warm: float = 1.0
    """Seconds before counting."""
    seconds: float = 3.0
    events: int = 200
    """Of each stream."""
    rate: int = 50
    """Events a second of each stream; a fifth of it for more than 1,000 streams."""

    repeats: int = 5
    """Measurements of up to 32 streams: each has so few events that a pause of the machine shows in it."""

    def times(self, streams: int) -> int:
        """How often so many streams are measured."""
        return self.repeats if streams <= 32 else 1

    def rate_of(self, streams: int) -> int:
        """Events a second, so that no core but that of a slow program is the bound."""
        return self.rate if streams <= 1000 else max(1, self.rate // 5)


QUICK = Scale(connections=(1, 8), rounds=1, warm=0.1, seconds=1.0, events=10, rate=100, repeats=1)


@dataclass(slots=True)
class Progress:
    """One line for each measurement, with the time that is left at the pace so far."""

    expected: float
    """Seconds, as planned."""
    began: float = field(default_factory=time.monotonic)
    planned: float = 0.0

    def tell(self, what: str, seconds: float) -> None:
        """Begin something that is planned to take `seconds`."""
        gone = time.monotonic() - self.began
        pace = gone / self.planned if self.planned > 30 else 1.0
        left = max(0.0, self.expected - self.planned) * pace
        self.planned += seconds
        print(f"[{gone / 60:5.1f} min, {left / 60:4.1f} left] {what}", file=sys.stderr, flush=True)


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # As Ctrl-C: no server is left behind.
    core, other = cores()
    os.sched_setaffinity(0, {other})
    machine = describe()
    scale = QUICK if options.quick else _scale(options)
    targets = [each for each in TARGETS if not options.only or each.name in options.only]
    with tempfile.TemporaryDirectory(prefix="slipway-overhead-") as name:
        folder = Path(name)
        build(folder)
        with upstream(folder, other) as port:
            ground = Ground(core, other, folder, port, options.python)
            results = Results.of(targets, ground)
            try:
                _measure(targets, ground, scale, results)
            except KeyboardInterrupt:
                print("Interrupted: what was measured so far", file=sys.stderr)
    machine["load_after"] = round(os.getloadavg()[0], 2)
    report = {
        "command": " ".join(["python -m loadtests.gateway_overhead", *sys.argv[1:]]),
        "machine": machine,
        "scale": asdict(scale),
        "targets": {name: asdict(result) for name, result in results.items()},
        "demands": [asdict(each) for each in demands(results)],
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    text = tables(machine, results)
    print(text)
    if options.docs:
        write_between(options.docs, "bench", text)
    return 1 if options.check and not all(each.met for each in demands(results)) else 0


def _scale(options: argparse.Namespace) -> Scale:
    numbers = tuple(options.connections or Scale().connections)
    return Scale(connections=numbers, rounds=options.rounds, seconds=options.seconds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    python = ROOT / ".venvs" / "gateway" / "bin" / "python"
    names = [each.name for each in TARGETS]
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    parser.add_argument("--docs", type=Path, help="write the tables into this page (docs/performance.md)")
    parser.add_argument("--only", action="append", choices=names, help="a target; may be given several times")
    parser.add_argument("--connections", type=int, action="append", help="a number of them; several times")
    parser.add_argument("--rounds", type=int, default=Scale().rounds)
    parser.add_argument("--seconds", type=float, default=Scale().seconds, help="counted for each point")
    parser.add_argument(
        "--python", type=Path, default=python, help="interpreter of the gateway's environment"
    )
    parser.add_argument("--quick", action="store_true", help="a few seconds: does it work, never how fast")
    parser.add_argument("--check", action="store_true", help="end with 1 where a demand is not met")
    return parser.parse_args()


def _measure(targets: list[Target], ground: Ground, scale: Scale, results: Results) -> None:
    each_requests = len(scale.connections) * (scale.warm + scale.seconds + 0.5)
    each_streams = sum(
        scale.times(streams) * (scale.events / scale.rate_of(streams) + 1) for streams in scale.connections
    )
    start = 6.0
    progress = Progress(len(targets) * (scale.rounds * (each_requests + start) + each_streams))
    clients = Clients(ground.folder, ground.other)
    for turn in range(scale.rounds):
        for target in targets:
            result = results[target.name]
            if result.failure:
                continue
            progress.tell(f"round {turn + 1} of {scale.rounds}: start {target.name}", start)
            try:
                with serving(target, ground) as server:
                    for number in scale.connections:
                        progress.tell(f"  {number} connections", each_requests / len(scale.connections))
                        settle(server.pids)
                        load = clients.requests(server.port, server.pids, number, scale.warm, scale.seconds)
                        result.requests.setdefault(number, []).append(load)
                        _tell_lost(load)
                    if turn:
                        continue
                    for number in scale.connections:
                        rate = scale.rate_of(number)
                        times = scale.times(number)
                        progress.tell(f"  {number} streams", times * (scale.events / rate + 1))
                        for _ in range(times):
                            settle(server.pids)
                            load = clients.streams(server.port, server.pids, number, scale.events, rate)
                            result.streams.setdefault(number, []).append(load)
                            _tell_lost(load)
            except CannotRunError as error:
                result.failure = str(error)
                print(f"  cannot run: {error}", file=sys.stderr, flush=True)


def _tell_lost(load: Load) -> None:
    if load.lost:
        causes = ", ".join(f"{count} {name}" for name, count in load.causes.items())
        print(f"  lost {load.lost} of {load.begun}: {causes}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
