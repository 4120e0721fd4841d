"""From loads to what is read: tables of ratios, and whether what is asked of the gateway is met."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from loadtests.overhead.drives import Load
from loadtests.overhead.targets import Ground, Target

BARE, RELAY, OURS, SHARED = "upstream", "raw ASGI", "slipway", "slipway, Redis"


@dataclass(slots=True)
class Result:
    """All loads of one target."""

    does: str
    version: str
    requests: dict[int, list[Load]] = field(default_factory=dict)
    """By connections, one a round."""
    streams: dict[int, list[Load]] = field(default_factory=dict)
    """By number of streams; few are measured several times."""
    failure: str = ""


class Results(dict[str, Result]):
    """By target's name."""

    @classmethod
    def of(cls, targets: Iterable[Target], ground: Ground) -> "Results":
        """Nothing measured yet."""
        return cls({each.name: Result(each.does, each.version(ground)) for each in targets})

    def ratio(self, name: str, to: str, number: int) -> float | None:
        """Requests a second of one against another, the median of the rounds' ratios."""
        mine, theirs = self._requests(name, number), self._requests(to, number)
        ratios = [a.rate / b.rate for a, b in zip(mine, theirs, strict=False) if b.rate]
        return median(ratios) if ratios else None

    def added(self, name: str, number: int, percentile: str) -> float | None:
        """Milliseconds that it adds to an answer that is not streamed."""
        mine, bare = self._requests(name, number), self._requests(BARE, number)
        both = [a.whole[percentile] - b.whole[percentile] for a, b in zip(mine, bare, strict=False)]
        return median(both) if both else None

    def added_first(self, name: str, number: int, percentile: str) -> float | None:
        """Milliseconds that it adds to the first event of a stream."""
        both = zip(self.streams(name, number), self.streams(BARE, number), strict=False)
        added = [mine.first[percentile] - bare.first[percentile] for mine, bare in both]
        return median(added) if added else None

    def streams(self, name: str, number: int) -> list[Load]:
        """The loads of so many streams."""
        return self[name].streams.get(number, []) if name in self else []

    def _requests(self, name: str, number: int) -> list[Load]:
        return self[name].requests.get(number, []) if name in self else []


@dataclass(frozen=True, slots=True)
class Demand:
    """Something that is asked of the gateway, and what was measured."""

    what: str
    measured: str
    met: bool


def demands(results: Results) -> list[Demand]:
    """What is asked, as far as it was measured."""
    found = []

    def add(what: str, value: float | None, show: str, met: Callable[[float], bool]) -> None:
        if value is not None:
            found.append(Demand(what, show.format(value), met(value)))

    relay = results.ratio(OURS, RELAY, 32)
    wanted = "10,000 requests/s where the raw ASGI relay makes 12,000: 0.83 of it"
    add(wanted, relay, "{:.2f}", lambda v: v >= 10 / 12)
    rates = [load.rate for load in (results[OURS].requests.get(32, []) if OURS in results else [])]
    shared = results.ratio(SHARED, OURS, 32)
    add("with Redis at least 0.60 of that", shared, "{:.2f}", lambda v: v >= 0.6)
    for number in (32, 256):
        costs = [load.cpu / load.events * 1e6 for load in results.streams(OURS, number) if load.events]
        cost = median(costs) if costs else None
        add(f"under 25 µs of CPU for each event, {number} streams", cost, "{:.1f} µs", lambda v: v < 25)
    for name in (OURS, SHARED):
        for load in results.streams(name, 2000):
            add(f"{name}: 2,000 streams in under 300 MiB", load.pss / 2**20, "{:.0f} MiB", lambda v: v < 300)
            add(f"{name}: none of them lost", load.lost, "{:.0f} lost", lambda v: not v)
    if rates and relay is not None:
        found.insert(0, Demand("requests/s on this core, 32 connections", f"{median(rates):,.0f}", True))
    return found


def write_between(file: Path, mark: str, text: str) -> None:
    """Replace what a page has between `<!-- mark -->` and `<!-- /mark -->`. Raises ValueError."""
    page = file.read_text(encoding="utf-8")
    before, begin, rest = page.partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"<!-- /{mark} -->")
    if not begin or not end:
        raise ValueError(f"{file} has no place for {mark}")
    file.write_text(before + begin + text + end + after, encoding="utf-8")


def tables(machine: dict[str, object], results: Results) -> str:
    """Everything as Markdown."""
    parts = [", ".join(f"{name} {value}" for name, value in machine.items()) + "\n"]
    numbers = sorted({number for result in results.values() for number in result.requests})
    rows = []
    for name, result in results.items():
        if result.failure:
            rows.append([name, "", f"cannot run: {result.failure}"])
            continue
        for number in numbers:
            loads = result.requests.get(number, [])
            if not loads:
                continue
            rows.append(
                [
                    f"{name} {result.version}".strip(),
                    f"{number:,}",
                    f"{median(load.rate for load in loads):,.0f}",
                    _ratio(results.ratio(name, BARE, number)),
                    _ratio(results.ratio(name, RELAY, number)),
                    _signed(results.added(name, number, "p50")),
                    _signed(results.added(name, number, "p99")),
                    _micros(sum(load.cpu for load in loads), sum(load.answered for load in loads)),
                    _micros(sum(load.cpu_main for load in loads), sum(load.answered for load in loads)),
                    f"{sum(load.lost for load in loads):,}",
                ]
            )
    head = [
        "",
        "connections",
        "requests/s",
        "of upstream",
        "of raw ASGI",
        "p50 adds, ms",
        "p99 adds, ms",
        "CPU µs",
        "its main process",
        "lost",
    ]
    parts.append(table(head, rows))
    rows = []
    for name, result in results.items():
        for number, loads in sorted(result.streams.items()):
            rows.append(
                [
                    f"{name} {result.version}".strip(),
                    f"{number:,}",
                    f"{sum(load.events for load in loads):,}",
                    _median_micros([(load.cpu, load.events) for load in loads]),
                    _median_micros([(load.cpu_main, load.events) for load in loads]),
                    _signed(results.added_first(name, number, "p50")),
                    _signed(results.added_first(name, number, "p99")),
                    f"{pss / 2**20:,.0f}" if (pss := max(load.pss for load in loads)) else "",
                    f"{min(load.peak_streams for load in loads):,}",
                    f"{sum(load.lost for load in loads):,}",
                ]
            )
    head = [
        "",
        "streams",
        "events",
        "CPU µs/event",
        "its main process",
        "first adds p50, ms",
        "p99, ms",
        "MiB",
        "at once",
        "lost",
    ]
    parts.append(table(head, rows))
    rows = [[each.what, each.measured, "yes" if each.met else "NO"] for each in demands(results)]
    if rows:
        parts.append(table(["asked", "measured", "met"], rows))
    return "\n".join(parts)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown: the first column to the left, the others to the right."""
    rows = [row + [""] * (len(head) - len(row)) for row in rows]
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]

    def line(cells: list[str]) -> str:
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join([cells[0].ljust(widths[0]), *others]) + " |"

    rule = "|-" + "-" * widths[0] + "-|" + "|".join("-" * (width + 1) + ":" for width in widths[1:]) + "|"
    return "\n".join([line(head), rule, *map(line, rows)]) + "\n"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"


def _median_micros(costs: list[tuple[float, int]]) -> str:
    known = [cpu / events * 1e6 for cpu, events in costs if cpu and events]
    return f"{median(known):.1f}" if known else ""


def _micros(cpu: float, events: int) -> str:
    return f"{cpu / events * 1e6:.1f}" if cpu and events else ""
