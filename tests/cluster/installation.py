"""Slipway on a cluster, installed with the real Helm from the chart of this checkout."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.helm import CHART, Helm
from cluster.kubectl import Kubectl, KubectlError

RELEASE = "slipway"


@dataclass(frozen=True)
class Installation:
    """A release of the chart in a namespace."""

    kubectl: Kubectl
    helm: Helm
    namespace: str
    values: Mapping[str, Any]

    def run(self, *arguments: str, input: str | None = None, seconds: float = 300) -> str:
        """Run Helm. Raises HelmError."""
        return self.helm(*arguments, f"--namespace={self.namespace}", input=input, seconds=seconds)

    def install(self, **more: Any) -> str:
        """Install or upgrade, `more` values over the installation's own; waits until all of it is ready."""
        values = json.dumps(_over(self.values, more))
        arguments = ["upgrade", "--install", RELEASE, str(CHART), "--values=-", "--wait", "--timeout=180s"]
        arguments.append("--take-ownership")  # Of definitions that other tests have left.
        return self.run(*arguments, input=values)

    def uninstall(self) -> str:
        """Uninstall; waits until it is gone."""
        return self.run("uninstall", RELEASE, "--wait", "--timeout=120s")

    @property
    def url(self) -> str:
        """The gateway's address for pods."""
        return f"http://{RELEASE}-gateway.{self.namespace}.svc:8000"


def _over(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in more.items():
        if isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = _over(merged[name], value)
        else:
            merged[name] = value
    return merged


def image(name: str) -> dict[str, str]:
    """An image's name as the chart's values have it."""
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag}


def service(name: str, *args: str, **spec: Any) -> dict[str, Any]:
    """An LLMService of the fake engine, which takes `args`; `spec` over the rest."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {"name": name},
        "spec": {
            "model": {"source": "hf://org/none"},
            "engine": {"device": "cpu", "args": list(args)},
            **spec,
        },
    }


def key(name: str, **spec: Any) -> dict[str, Any]:
    """An APIKey."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "APIKey",
        "metadata": {"name": name},
        "spec": {"owner": name, **spec},
    }


def condition(item: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """One of an object's conditions; empty if it has none such."""
    conditions = item.get("status", {}).get("conditions", ())
    return next((each for each in conditions if each["type"] == kind), {})


def until(
    kubectl: Kubectl, namespace: str, name: str, done: Callable[[dict[str, Any]], object], seconds: float = 90
) -> dict[str, Any]:
    """Wait until `done` holds for the LLMService; it is not asked before there is a status."""
    end = time.monotonic() + seconds
    found: dict[str, Any] = {}
    while time.monotonic() < end:
        try:
            found = kubectl.get(namespace, "llmservice", name)
        except KubectlError:
            found = {}  # The API server is away, or it is gone.
        if "status" in found and done(found):
            return found
        time.sleep(0.3)
    raise AssertionError(f"{name} is not as awaited after {seconds} s: {json.dumps(found.get('status'))}")


def events(kubectl: Kubectl, namespace: str, name: str) -> dict[str, str]:
    """Reason -> message of the events of an LLMService, of those with one reason the last."""
    listed = kubectl.get(namespace, "events.events.k8s.io")["items"]
    own = [each for each in listed if each["regarding"]["name"] == name]
    own.sort(key=lambda each: each.get("eventTime") or "")
    return {each["reason"]: each["note"] for each in own}
