"""What was measured of each operator, side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from loadtests.overhead.tables import Demand, table

MIB = 2**20


@dataclass(slots=True)
class Figures:
    """Of one operator. Seconds, bytes, numbers of calls."""

    name: str
    version: str
    services: int
    applies: int
    ready: float = 0.0
    converged: float = 0.0
    """From its start until the last status was written."""
    converged_cpu: float = 0.0
    calls: int = 0
    """Until nothing was written any more, by the API server's count."""
    own_calls: int | None = None
    """The same by its own."""
    writes: int = 0
    verbs: dict[str, int] = field(default_factory=dict)
    pss: int = 0
    idle_calls: float = 0.0
    """A minute."""
    idle_writes: int = 0
    """To what it looks after."""
    idle_cpu: float = 0.0
    """Seconds a minute."""
    idle_pss: int = 0
    apply: dict[str, float] = field(default_factory=dict)
    """From the start of kubectl until the pod was created."""
    pod: dict[str, float] = field(default_factory=dict)
    """From the LLMService in a watch until the pod was in one."""
    restart_ready: float = 0.0
    restart_calls: int = 0
    restart_writes: int = 0
    restart_cpu: float = 0.0
    restart_pss: int = 0


_ROWS: tuple[tuple[str, Callable[[Figures], float | None], str], ...] = (
    ("from start to ready, s", lambda f: f.ready, "{:.2f}"),
    ("from start to the last status, s", lambda f: f.converged, "{:.1f}"),
    ("CPU of that, ms an object", lambda f: f.converged_cpu / f.services * 1e3, "{:.1f}"),
    ("API calls an object", lambda f: f.calls / f.services, "{:.2f}"),
    ("by its own count", lambda f: None if f.own_calls is None else f.own_calls / f.services, "{:.2f}"),
    ("of them writes", lambda f: f.writes / f.services, "{:.2f}"),
    ("memory (PSS), MiB", lambda f: f.pss / MIB, "{:.0f}"),
    ("nothing changes: API calls a minute", lambda f: f.idle_calls, "{:.0f}"),
    ("writes to objects and children", lambda f: f.idle_writes, "{:.0f}"),
    ("CPU, ms a second", lambda f: f.idle_cpu / 60 * 1e3, "{:.1f}"),
    ("kubectl apply until the pod is created: p50, s", lambda f: f.apply.get("p50"), "{:.2f}"),
    ("its p99, s", lambda f: f.apply.get("p99"), "{:.2f}"),
    ("without kubectl itself: p50, s", lambda f: f.pod.get("p50"), "{:.3f}"),
    ("p99 without kubectl, s", lambda f: f.pod.get("p99"), "{:.3f}"),
    ("started anew: to ready, s", lambda f: f.restart_ready, "{:.2f}"),
    ("its API calls", lambda f: f.restart_calls, "{:.0f}"),
    ("its writes", lambda f: f.restart_writes, "{:.0f}"),
    ("its CPU, s", lambda f: f.restart_cpu, "{:.1f}"),
    ("memory (PSS) then, MiB", lambda f: f.restart_pss / MIB, "{:.0f}"),
)


def demands(found: Sequence[Figures]) -> list[Demand]:
    """What is asked of Slipway's operator, and what came of it."""
    ours = next((each for each in found if each.name == "slipway"), None)
    if ours is None:
        return []
    most = ours.apply.get("p99", 0.0)
    return [
        Demand("a pod within a second of kubectl apply, p99", f"{most:.2f} s", most < 1),
        Demand("no write while nothing changes", f"{ours.idle_writes}", ours.idle_writes == 0),
        Demand("no write by a start anew", f"{ours.restart_writes}", ours.restart_writes == 0),
    ]


def tables(machine: dict[str, object], found: Sequence[Figures]) -> str:
    """Everything as Markdown."""
    head = ["", *(f"{each.name} {each.version}".strip() for each in found)]
    if len(found) == 2:
        head.append(f"{found[0].name} : {found[1].name}")
    rows = []
    for what, value, shown in _ROWS:
        values = [value(each) for each in found]
        cells = ["" if each is None else shown.format(each) for each in values]
        if len(values) == 2 and values[0] is not None and values[1]:
            cells.append(f"{values[0] / values[1]:.2f}")
        rows.append([what, *cells])
    parts = [", ".join(f"{name} {value}" for name, value in machine.items()) + "\n"]
    if found:
        parts.append(f"{found[0].services} LLMServices, {found[0].applies} times kubectl apply\n")
    parts.append(table(head, rows))
    asked = [[each.what, each.measured, "yes" if each.met else "NO"] for each in demands(found)]
    if asked:
        parts.append(table(["asked", "measured", "met"], asked))
    return "\n".join(parts)
