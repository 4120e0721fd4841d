"""The real kubectl, for tests."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class KubectlError(Exception):
    """kubectl ended with an error. The message is what it printed."""


@dataclass(frozen=True)
class Kubectl:
    """Runs kubectl against one cluster: `kubectl("get", "pods")` returns what it prints."""

    program: Path
    kubeconfig: Path

    def __call__(self, *arguments: str, input: str | None = None, seconds: float = 120) -> str:
        """Raises KubectlError where kubectl fails, subprocess.TimeoutExpired after `seconds`."""
        command = [str(self.program), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, namespace: str, *objects: Mapping[str, Any]) -> None:
        """Create or change objects in a namespace."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self("apply", f"--namespace={namespace}", "--server-side", "--filename=-", input=text)

    def get(self, namespace: str, *what: str) -> Any:
        """An object, or the list of them, as JSON says it."""
        return json.loads(self("get", f"--namespace={namespace}", "--output=json", *what))

    def wait(self, namespace: str, condition: str, *what: str, seconds: int = 60) -> None:
        """Return once `condition`, such as `condition=Ready`, holds."""
        timeout = f"--timeout={seconds}s"
        self("wait", f"--namespace={namespace}", f"--for={condition}", timeout, *what, seconds=seconds + 10)
