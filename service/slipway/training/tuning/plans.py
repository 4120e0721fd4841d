"""What is decided once at the beginning of a training and holds for all its attempts.

What is measured (memory, the faster number format) may come out differently the next time; a training that
went on with other decisions would not end in the same weights.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from slipway.training.runs import write_atomically
from slipway.training.tuning.jobs import TrainingJob

if TYPE_CHECKING:
    import torch

    from slipway.training.tuning.devices import Precision


@dataclass(frozen=True, slots=True)
class Plan:
    """The decisions."""

    fingerprint: str
    """Of the job: another one is another training."""
    precision: "Precision"
    packed: bool
    micro: int
    """Units that each process works on at once, at first."""
    threads: int
    """Of the arithmetic. Another number adds up in another order."""
    processes: int
    device: str


def fingerprint(job: TrainingJob) -> str:
    """Digest of all that the result depends on."""
    depends = {
        "base": job.base_digest or str(job.base),
        "dataset": job.dataset.digest,
        "task": job.task,
        "method": job.method,
        "hyperparameters": job.hyperparameters.model_dump(mode="json"),
    }
    return "sha256:" + hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def kept(folder: Path, wanted: str) -> Plan | None:
    """The plan of an earlier attempt at the same training. What is left of another training is removed."""
    try:
        plan = Plan(**json.loads((folder / "plan.json").read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        plan = None
    if plan is not None and plan.fingerprint == wanted:
        return plan
    rmtree(folder)
    return None


def keep(folder: Path, plan: Plan) -> None:
    """Write it down for later attempts."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "plan.json", json.dumps(asdict(plan), indent=1))


def changes(plan: Plan, processes: int, device: "torch.device") -> list[str]:
    """What of the machine is another than when it began: the result may differ in rounding."""
    import torch

    now = {"threads": torch.get_num_threads(), "processes": processes, "device": device.type}
    before = asdict(plan)
    return [
        f"{name} {before[name]} before, {value} now" for name, value in now.items() if before[name] != value
    ]
