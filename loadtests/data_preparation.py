"""What the preparation of data costs: MB/s, processor time and memory, beside `datasets` and datatrove.

    python -m loadtests.data_preparation [--megabytes 20] [--rounds 3] [--json FILE]

`make bench-data` makes the environments. Every program gets the same file and takes the same steps with the
same libraries, in as many processes as there are cores: fix the encoding (ftfy), normalize Unicode, strip
HTML, trim white space, identify the language (py3langid on the first 256 characters), Gopher's rules
against repetition, redact personal data (Presidio's recognizers), deduplicate by MinHash, split, write
Parquet compressed by zstd. On Ray Data the same code must make the same version. The peers' scripts are in
loadtests/peers. Ratios are taken within a round; the median is printed. Our memory is measured once more
with four times the data.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtests import corpus
from loadtests.overhead.machines import cpu_seconds, describe, family, memory

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "loadtests" / "peers"
PEERS_PYTHON = ROOT / ".venvs" / "peer-datatrove" / "bin" / "python"
_SAMPLE_S = 0.1


@dataclass(frozen=True)
class Figures:
    """One preparation."""

    program: str
    megabytes: float
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    """PSS of all its processes at most."""
    rows: int
    digest: str = ""
    """Of our versions."""


def main() -> int:
    """Measure, print, and write what was asked for."""
    options = _options()
    if options.only:
        return _prepare(*options.only, on_ray=options.ray)
    cores = len(os.sched_getaffinity(0))
    programs = {
        "slipway": [sys.executable, "-m", "loadtests.data_preparation", "--only"],
        "slipway on Ray": [str(PEERS_PYTHON), "-m", "loadtests.data_preparation", "--ray", "--only"],
        "datasets": [sys.executable, str(PEERS / "datasets_steps.py")],
        "datatrove": [str(PEERS_PYTHON), str(PEERS / "datatrove_steps.py")],
    }
    with tempfile.TemporaryDirectory(prefix="slipway-data-") as folder:
        small, large = Path(folder) / "small.jsonl", Path(folder) / "large.jsonl"
        corpus.write(small, options.megabytes * 1_000_000)
        corpus.write(large, 4 * options.megabytes * 1_000_000, seed=1)
        found = [
            [_measure(name, command, small, cores) for name, command in programs.items()]
            for _ in range(options.rounds)
        ]
        grown = _measure("slipway", programs["slipway"], large, cores)
    for one in found:
        if one[0].digest != one[1].digest:
            raise SystemExit(f"On Ray another version came out: {one[1].digest}, not {one[0].digest}.")
    text = _table(found, grown)
    print(text)
    if options.json:
        report = {
            "machine": describe(),
            "rounds": [[asdict(each) for each in one] for one in found],
            "grown": asdict(grown),
        }
        options.json.write_text(json.dumps(report, indent=1))
    if options.page:
        from loadtests.overhead.tables import write_between

        write_between(options.page, "data preparation", text)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write everything that was measured")
    parser.add_argument("--page", type=Path, help="write the table between the marks of this page")
    parser.add_argument("--ray", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs=3, metavar=("FILE", "FOLDER", "PROCESSES"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(name: str, command: Sequence[str], path: Path, cores: int) -> Figures:
    """Run a program until it ends."""
    with tempfile.TemporaryDirectory(prefix=f"slipway-{name}-", dir=path.parent) as folder:
        began = time.monotonic()
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
        environment |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": str(ROOT / "service")}
        log = Path(folder, "log")
        with log.open("w") as errors:
            child = subprocess.Popen(
                [*command, str(path), folder, str(cores)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=environment,
            )
        peak = _Watched(child.pid)
        output = child.stdout.read() if child.stdout else ""
        child.wait()
        seconds = time.monotonic() - began
        peak.stop()
        if child.returncode:
            raise SystemExit(f"{name} failed: {log.read_text()[-2000:]}")
    came = json.loads(output.strip().splitlines()[-1])
    cpu = sum(peak.cpu_seconds.values())
    return Figures(
        name, path.stat().st_size / 1e6, seconds, cpu, peak.bytes, came["rows"], came.get("digest", "")
    )


class _Watched(threading.Thread):
    """The most memory that a process and its descendants had at once, and the processor time of each."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._end = threading.Event()
        self.bytes = 0
        self.cpu_seconds: dict[int, float] = {}
        self.start()

    def run(self) -> None:
        while not self._end.wait(_SAMPLE_S):
            # What a fork server starts is waited for by nobody, so that the kernel adds it up nowhere.
            found = family(self._pid)
            self.bytes = max(self.bytes, memory(found)[0])
            self.cpu_seconds |= {pid: cpu_seconds([pid]) or self.cpu_seconds.get(pid, 0.0) for pid in found}

    def stop(self) -> None:
        self._end.set()
        self.join()


def _table(found: list[list[Figures]], grown: Figures) -> str:
    lines = [
        "| program | MB/s | CPU s/MB | peak memory, MB | rows kept | time, times ours | CPU, times ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for at, first in enumerate(found[0]):
        ones = [one[at] for one in found]
        time_ratio = statistics.median(one[at].seconds / one[0].seconds for one in found)
        cpu_ratio = statistics.median(one[at].cpu_seconds / one[0].cpu_seconds for one in found)
        speed = statistics.median(each.megabytes / each.seconds for each in ones)
        cost = statistics.median(each.cpu_seconds / each.megabytes for each in ones)
        peak = statistics.median(each.peak_bytes for each in ones) / 1e6
        lines.append(
            f"| {first.program} | {speed:.2f} | {cost:.2f} | {peak:.0f} | {ones[-1].rows}"
            f" | {time_ratio:.2f} | {cpu_ratio:.2f} |"
        )
    small = statistics.median(one[0].peak_bytes for one in found) / 1e6
    lines += [
        "",
        f"Slipway with {grown.megabytes:.0f} MB in place of {found[0][0].megabytes:.0f}: "
        f"{grown.peak_bytes / 1e6:.0f} MB at most in place of {small:.0f},"
        f" {grown.megabytes / grown.seconds:.2f} MB/s.",
    ]
    return "\n".join(lines) + "\n"


def _prepare(path: str, folder: str, processes: str, *, on_ray: bool) -> int:
    """Our preparation, as a process of its own."""
    from slipway.objects.datasets import DatasetSpec
    from slipway.training.data import executors
    from slipway.training.data.pipeline import prepare
    from slipway.training.data.versions import PARTS
    from slipway.training.workspaces import Workspace

    class Silent:
        workspace = Workspace(Path(folder))

        def check(self) -> None:
            pass

        def tell(self, message: str, step: int = 0, total: int | None = None) -> None:
            pass

    spec = DatasetSpec.model_validate(
        {"format": "text", "sources": [{"name": "corpus", "source": Path(path).as_uri()}]}
    )
    executor = executors.ray if on_ray else executors.processes(int(processes))
    version = prepare("corpus", spec, Silent(), executor)
    print(json.dumps({"rows": sum(version.count(part) for part in PARTS), "digest": version.digest}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
