"""The cluster's control group: whatever runs in it or below it belongs to the cluster, and nothing else does.

That makes ending a cluster certain, whatever died before: nobody has to remember a process's number.
"""

import os
import signal
from pathlib import Path

from cluster.places import NAME

BASE = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


def unified() -> bool:
    """Whether the machine has control groups of version 2 alone."""
    return (BASE / "cgroup.controllers").exists()


def hierarchies() -> list[Path]:
    return (
        [BASE] if unified() else sorted(path for path in BASE.iterdir() if (path / "cgroup.procs").exists())
    )


def daemons_files() -> list[Path]:
    """What to write a process's number to, to make it one of the cluster's daemons in every hierarchy."""
    return [root / NAME / "daemons" / "cgroup.procs" for root in hierarchies()]


def create(*below: str) -> None:
    """Make the groups `below` the cluster's, in every hierarchy, as kubelet wants to find them."""
    for root in hierarchies():
        for name in below:
            group = root
            for part in (NAME, name):
                if unified():
                    _delegate(group)
                group /= part
                group.mkdir(exist_ok=True)
                _inherit_processors(group)


def _delegate(group: Path) -> None:
    """Version 2: let the groups below have controllers."""
    for controller in CONTROLLERS:
        if controller in (group / "cgroup.controllers").read_text().split():
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _inherit_processors(group: Path) -> None:
    """Version 1: a new cpuset is empty, and then nothing can run in it."""
    if unified():
        return
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (group / name).exists() and not (group / name).read_text().strip():
            (group / name).write_text((group.parent / name).read_text())


def other_clusters() -> bool:
    """Whether this machine has another cluster like this one, with another number."""
    family = NAME.partition("-cluster")[0]
    return any(group.name != NAME for root in hierarchies() for group in root.glob(f"{family}-cluster*"))


def groups(below: str = "") -> list[Path]:
    """The cluster's groups in all hierarchies, or those of one part of it, the deepest first."""
    found: list[Path] = []
    for root in hierarchies():
        for folder, _, _ in os.walk(root / NAME / below, topdown=False):
            found.append(Path(folder))
    return found


def members(below: str = "") -> set[int]:
    """The numbers of the processes in the cluster's groups, or in those of one part of it."""
    found: set[int] = set()
    for group in groups(below):
        try:
            found |= {int(line) for line in (group / "cgroup.procs").read_text().split()}
        except OSError:  # gone meanwhile
            continue
    return found - {0}


def kill(below: str = "") -> None:
    """End them by force. They may still be there for a moment."""
    for pid in members(below):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def remove() -> None:
    """Remove all groups that hold no process."""
    for group in groups():
        try:
            group.rmdir()
        except OSError:  # still in use: the caller looks again
            continue
