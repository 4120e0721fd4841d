"""Traffic through a gateway's Service, made by a pod; see traffic_pod.py."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.kubectl import Kubectl

SCRIPT = Path(__file__).with_name("traffic_pod.py")


@dataclass(frozen=True)
class Traffic:
    """A pod that asks steadily."""

    kubectl: Kubectl
    namespace: str
    name: str

    def lines(self) -> list[dict[str, Any]]:
        """Everything that it has told."""
        text = self.kubectl("logs", f"--namespace={self.namespace}", self.name)
        return [json.loads(line) for line in text.splitlines()]

    def now(self) -> dict[str, Any]:
        """The counts until now: `sent`, `ok`, `failed`, `said`."""
        return next(line for line in reversed(self.lines()) if "sent" in line)

    def failures(self) -> list[dict[str, Any]]:
        """Each request that failed."""
        return [line for line in self.lines() if "failure" in line]

    def until(
        self, done: Callable[[dict[str, Any]], bool], what: str, seconds: float = 120
    ) -> dict[str, Any]:
        """Wait until the counts say so."""
        end = time.monotonic() + seconds
        while not done(now := self.now()):
            assert time.monotonic() < end, f"{what} did not happen within {seconds} s: {now}"
            time.sleep(0.5)
        return now

    def goes_on(self, requests: int = 20) -> dict[str, Any]:
        """Wait for so many further answers."""
        before = self.now()["ok"]
        return self.until(lambda now: now["ok"] >= before + requests, f"{requests} more answers")

    def end(self) -> dict[str, Any]:
        """Stop asking, wait for the last answer; the counts."""
        self.kubectl("exec", f"--namespace={self.namespace}", self.name, "--", "python3", "-c", _STOP)
        return self.until(lambda now: now["end"], "the last answer")


_STOP = "import os, signal; os.kill(1, signal.SIGTERM)"


@contextmanager
def traffic(
    kubectl: Kubectl, namespace: str, image: str, *, url: str, key: str, model: str, rate: float = 10
) -> Iterator[Traffic]:
    """Have `model` asked `rate` times a second; `key` names the Secret with the plain key."""
    name = f"traffic-{model}"[:50]
    variables = {"URL": url, "MODEL": model, "RATE": str(rate)}
    secret = {"secretKeyRef": {"name": key, "key": "key"}}
    environment = [
        *({"name": variable, "value": value} for variable, value in variables.items()),
        {"name": "KEY", "valueFrom": secret},
    ]
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "traffic",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", SCRIPT.read_text()],
                    "env": environment,
                    "securityContext": restricted,
                }
            ],
        },
    }
    kubectl.apply(namespace, pod)
    try:
        kubectl.wait(namespace, "condition=Ready", f"pod/{name}")
        asking = Traffic(kubectl, namespace, name)
        end = time.monotonic() + 60
        while not any("sent" in line for line in asking.lines()):
            assert time.monotonic() < end, asking.lines()
            time.sleep(0.2)
        yield asking
    finally:
        kubectl("delete", "pod", f"--namespace={namespace}", name, "--wait=true")
