"""The real Helm, for tests."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.places import CHECKOUT, KUBECONFIG
from cluster.programs import programs

CHART = CHECKOUT / "charts/slipway"
CI = sorted((CHART / "ci").glob("*-values.yaml"))
"""Whole sets of values, as people use them."""


class HelmError(Exception):
    """Helm ended with an error. The message is what it printed."""


def program() -> Path:
    """This project's Helm, or for a cluster of somebody's own the one on the PATH."""
    own = shutil.which("helm") if os.environ.get("KUBECONFIG", str(KUBECONFIG)) != str(KUBECONFIG) else None
    return Path(own) if own else programs() / "helm"


@dataclass(frozen=True)
class Helm:
    """Runs Helm, on a cluster where a kubeconfig is given."""

    program: Path
    kubeconfig: Path | None = None

    def __call__(self, *arguments: str | Path, input: str | None = None, seconds: float = 300) -> str:
        """What Helm prints. Raises HelmError where it fails."""
        command = [str(self.program), *map(str, arguments)]
        if self.kubeconfig is not None:
            command.append(f"--kubeconfig={self.kubeconfig}")
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            raise HelmError(f"helm {' '.join(command[1:])}: {done.stdout}{done.stderr}")
        return done.stdout

    def render(
        self, *arguments: str | Path, release: str = "slipway", namespace: str = "slipway-system"
    ) -> list[dict[str, Any]]:
        """The objects of the chart with these values (`--set`, `--values`)."""
        text = self("template", release, CHART, f"--namespace={namespace}", *arguments)
        return [document for document in yaml.safe_load_all(text) if document]
