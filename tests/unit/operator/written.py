"""Objects as the API server would hand them out."""

import copy
from collections.abc import Mapping
from typing import Any

from slipway.kube.kinds import DEPLOYMENT, POD, Kind
from slipway.objects import LLMService
from slipway_operator import names
from slipway_operator.executor import kind_of
from slipway_operator.plans import Observed, Plan, plan
from slipway_operator.settings import OperatorSettings

SETTINGS = OperatorSettings(device="cpu", engine_image_cpu="engine:cpu", engine_image_gpu="engine:gpu")
NAMESPACE = "models"


def llm_service(*, engine: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """An LLMService named `m`."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {
            "name": "m", "namespace": NAMESPACE, "uid": "uid-m", "generation": 1, "resourceVersion": "1",
        },
        "spec": {"model": {"source": "hf://org/m"}, "engine": {"device": "cpu", **(engine or {})}, **spec},
    }  # fmt: skip


def parsed(item: Mapping[str, Any]) -> LLMService:
    return LLMService.model_validate({name: value for name, value in item.items() if name != "status"})


class Namespace:
    """An LLMService and its children, which change as plans are carried out and the test says."""

    def __init__(self, parent: dict[str, Any], settings: OperatorSettings = SETTINGS) -> None:
        self.parent, self.settings, self.now = parent, settings, 1_000_000_000.0
        self.children: dict[tuple[Kind, str], dict[str, Any]] = {}
        self.observed: dict[str, Any] = {}

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.parent["status"]
        return found

    def plan(self) -> Plan:
        """What is to be done next."""
        observed = Observed(children=self.children, **self.observed)
        return plan(parsed(self.parent), self.parent, observed, self.settings, self.now)

    def turn(self) -> Plan:
        """Do it."""
        made = self.plan()
        for manifest in made.apply:
            key = kind_of(manifest), manifest["metadata"]["name"]
            said = {"status": self.children[key]["status"]} if "status" in self.children.get(key, {}) else {}
            self.children[key] = copy.deepcopy(manifest) | said
        for kind, item in made.delete:
            del self.children[kind, item["metadata"]["name"]]
        self.parent["status"] = dict(made.status or {})
        return made

    def run(self, turns: int = 30, seconds: float = 1.0) -> None:
        """Turns a second apart, in which Deployments make the pods they are asked for."""
        for _ in range(turns):
            self.turn()
            self.make_pods()
            self.now += seconds

    def make_pods(self) -> None:
        """Be the Deployments' controller, and a kubelet of engines that start at once."""
        for key in [key for key in self.children if key[0] == POD]:
            del self.children[key]
        for (kind, name), item in list(self.children.items()):
            if kind == DEPLOYMENT:
                for number in range(item["spec"]["replicas"]):
                    made = pod(f"{name}-{number}", item["metadata"]["labels"][names.REVISION])
                    self.children[POD, made["metadata"]["name"]] = made

    def of(self, kind: Kind) -> dict[str, dict[str, Any]]:
        """Children of a kind by name."""
        return {name: item for (each, name), item in self.children.items() if each == kind}

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason."""
        found = next(each for each in self.status["conditions"] if each["type"] == kind)
        return found["status"], found["reason"]


def pod(name: str, revision: str, *, ready: bool = True, **status: Any) -> dict[str, Any]:
    """A pod of the LLMService `m`."""
    return {
        "metadata": {
            "name": name, "namespace": NAMESPACE, "uid": name, "labels": names.labels("m", revision),
            "creationTimestamp": "2001-09-09T01:46:40Z",
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.9",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            **status,
        },
    }  # fmt: skip
