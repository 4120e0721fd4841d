"""A cluster with a number of its own, for tests that break one or change its nodes."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cluster.kubectl import Kubectl
from cluster.places import CACHE
from cluster.programs import programs


@dataclass(frozen=True)
class Another:
    """Beside the cluster that the other tests share, which goes on untouched."""

    number: int

    @property
    def state(self) -> Path:
        return CACHE / f"state-{self.number}"

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(programs() / "kubectl", self.state / "kubeconfig")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the cluster's own command, and see how it ended."""
        return subprocess.run(
            [sys.executable, "-m", "cluster", *arguments],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "SLIPWAY_CLUSTER": str(self.number)},
            capture_output=True,
            text=True,
            timeout=100,
        )

    def kill(self, daemon: str) -> None:
        """As the kernel does when memory is short."""
        os.kill(int((self.state / "pids" / daemon).read_text().split()[0]), signal.SIGKILL)
