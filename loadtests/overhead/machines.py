"""The machine under a measurement: cores, processes, what they use."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cores() -> tuple[int, int]:
    """The core of what is measured, and the core of everything else. Exits with a sentence on one core."""
    found = sorted(os.sched_getaffinity(0))
    if len(found) < 2:
        raise SystemExit("This benchmark needs two cores: one for the gateway, one for what drives it.")
    return found[0], found[1]


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))

    def walk(one: int) -> Iterator[int]:
        yield one
        for child in children.get(one, []):
            yield from walk(child)

    return list(walk(pid))


def cpu_seconds(pids: list[int]) -> float:
    """Processor time of all threads. From the scheduler's nanoseconds where the kernel keeps them."""
    total = 0.0
    for pid in pids:
        try:
            precise = sum(
                int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat")
            )
            if precise:
                total += precise / 1e9
                continue
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) * _TICK_S
        except OSError:
            continue
    return total


def memory(pids: list[int]) -> tuple[int, int]:
    """Bytes of PSS, which counts pages that processes share once, and of RSS."""
    pss = rss = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith("Pss:"):
                pss += int(line.split()[1]) * 1024
            elif line.startswith("Rss:"):
                rss += int(line.split()[1]) * 1024
    return pss, rss


def describe() -> dict[str, object]:
    """What a reader must know of the machine; `load_before` of a quiet one is below 0.3."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": models[0].partition(": ")[2] if models else platform.processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def version_of(python: Path, package: str) -> str:
    """The version of a package in another environment; "" if it is not there."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def compiler() -> str:
    """The C compiler. Exits with a sentence where there is none."""
    found = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not found:
        raise SystemExit(
            "No C compiler found: install one (Debian: apt-get install gcc libc6-dev) or set CC."
        )
    return found
