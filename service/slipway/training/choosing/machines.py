"""The memory that there is: of the GPUs and of the machine."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_SHARE = 0.9
"""Of a GPU's memory, what engines and trainings are given (vLLM's `gpu_memory_utilization`)."""
_KEPT = 1 << 30
"""Bytes of a machine's memory that stay with its system."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a model must fit into."""

    gpu: int = 0
    """Bytes of memory of one GPU; 0 without any."""
    gpus: int = 0
    cpu: int = 0
    """Bytes of memory of the machine, or of its control group."""

    @property
    def gpu_budget(self) -> int:
        """Bytes that a model may take, over all GPUs: engines spread a model over them."""
        return int(_SHARE * self.gpu) * self.gpus

    @property
    def one_gpu_budget(self) -> int:
        """Bytes that a training may take: each device holds all of it."""
        return int(_SHARE * self.gpu) if self.gpus else 0

    @property
    def cpu_budget(self) -> int:
        """Bytes that a model may take."""
        return max(0, self.cpu - _KEPT)


def found(ask: Callable[[Sequence[str]], str] | None = None, root: Path = Path("/")) -> Machine:
    """This machine.

    Args:
        ask: runs a command and returns what it prints.
        root: of /proc and /sys.
    """
    total = next(
        int(line.split()[1]) * 1024
        for line in (root / "proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal:")
    )
    limit = root / "sys/fs/cgroup/memory.max"
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    sizes = _gpus(ask or _run)
    return Machine(min(sizes, default=0), len(sizes), total)


def _gpus(ask: Callable[[Sequence[str]], str]) -> list[int]:
    """Bytes of each."""
    told = ask(["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"])
    return [int(line) << 20 for line in told.split() if line.isdigit()]


def _run(command: Sequence[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout if done.returncode == 0 else ""
