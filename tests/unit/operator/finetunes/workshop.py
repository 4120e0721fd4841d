"""A FineTune and its children, which change as plans are carried out and the test says."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from slipway.kube.kinds import CONFIG_MAP, JOB, POD, TRAIN_JOB, Kind
from slipway.objects import FineTune
from slipway_operator import names
from slipway_operator.executor import kind_of
from slipway_operator.finetunes.plans import Observed, plan
from slipway_operator.matching import stamped
from slipway_operator.plans import Plan
from unit.operator.written import NAMESPACE, SETTINGS

RESULTS: dict[str, dict[str, Any]] = {
    "prepare": {"dataset": "f/0123", "records": {"train": 8, "validation": 1, "test": 1}},
    "search": {"best": "t1", "trials": [{"name": "t1", "phase": "Succeeded", "metrics": {"eval_loss": 0.5}}]},
    "train": {"artifact": "runs/f/train/artifact", "kind": "adapter", "metrics": {"loss": 0.25}},
    "evaluate": {"metrics": {"accuracy": 0.9375}},
    "register": {"name": "f", "version": "v1", "digest": "sha256:" + "a" * 64, "uri": "registry/f/v1"},
}
DEPLOY = {"deploy": {"service": "m"}}


def fine_tune(**spec: Any) -> dict[str, Any]:
    """A FineTune named `f`."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "FineTune",
        "metadata": {
            "name": "f", "namespace": NAMESPACE, "uid": "uid-f", "generation": 1, "resourceVersion": "1",
        },
        "spec": {
            "baseModel": {"source": "hf://org/m"},
            "dataset": {"sources": [{"name": "s", "source": "hf://org/d"}]},
            **spec,
        },
    }  # fmt: skip


class Workshop:
    """The cluster, as far as one FineTune sees it."""

    def __init__(self, parent: dict[str, Any], **observed: Any) -> None:
        self.parent, self.now, self.observed = parent, 1_000_000_000.0, observed
        self.children: dict[tuple[Kind, str], dict[str, Any]] = {}
        self.events: list[tuple[str, str]] = []
        self.made: list[str] = []
        """Jobs, in the order in which they were made."""

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.parent.get("status", {})
        return found

    def plan(self) -> Plan:
        parsed = FineTune.model_validate({k: v for k, v in self.parent.items() if k != "status"})
        observed = Observed(children=self.children, **self.observed)
        return plan(parsed, self.parent, observed, SETTINGS, self.now)

    def turn(self, *, killed: bool = False) -> Plan:
        """Do what is to be done next; `killed` before the status is written."""
        made = self.plan()
        for manifest in made.apply:
            key = kind_of(manifest), manifest["metadata"]["name"]
            if key not in self.children:
                item = copy.deepcopy(stamped(manifest))
                item["metadata"] |= {"uid": f"uid-{len(self.made)}-{key[1]}", "creationTimestamp": self.stamp}
                self.children[key] = item
                if key[0] in (JOB, TRAIN_JOB):
                    self.made.append(key[1])
                    self.children[POD, f"{key[1]}-p"] = self.pod(item)
        for kind, item in made.delete:
            del self.children[kind, item["metadata"]["name"]]
            pod = self.children.get((POD, f"{item['metadata']['name']}-p"))
            if pod is not None and pod["status"]["phase"] in ("Succeeded", "Failed"):
                del self.children[POD, pod["metadata"]["name"]]
        if not killed:
            self.parent["status"] = json.loads(json.dumps(made.status))
            self.events += [(event.type, event.reason) for event in made.events]
        self.now += 1.0
        return made

    @property
    def stamp(self) -> str:
        return "2001-09-09T01:46:40Z"

    def pod(self, job: dict[str, Any], **status: Any) -> dict[str, Any]:
        labels = {k: v for k, v in job["metadata"]["labels"].items() if k != names.TOKEN}
        return {
            "metadata": {"name": f"{job['metadata']['name']}-p", "namespace": NAMESPACE, "labels": labels},
            "status": {
                "phase": "Running", "podIP": "10.0.0.7",
                "containerStatuses": [{"name": "training", "state": {"running": {}}}], **status,
            },
        }  # fmt: skip

    @property
    def job(self) -> str:
        """The newest Job."""
        return self.made[-1]

    def end(
        self,
        outcome: Mapping[str, Any] | None,
        *,
        code: int = 0,
        reason: str = "",
        conditions: list[dict[str, str]] | None = None,
        why: str = "",
        **ended: str,
    ) -> None:
        """Let the newest Job's pod end."""
        stage = self.children[JOB, self.job]["metadata"]["labels"][names.STAGE]
        text = json.dumps({"stage": stage, **outcome}) if outcome is not None else ended.get("message", "")
        good = code == 0
        terminated = {"exitCode": code, "message": text, "reason": reason or "Completed"}
        self.children[POD, f"{self.job}-p"]["status"] |= {
            "phase": "Succeeded" if good else "Failed",
            "containerStatuses": [{"name": "training", "state": {"terminated": terminated}}],
            "conditions": conditions or [],
        }
        self.children[JOB, self.job]["status"] = {
            "conditions": [
                {
                    "type": "Complete" if good else "Failed", "status": "True", "reason": why,
                    "lastTransitionTime": "2001-09-09T01:46:40Z",
                }
            ]
        }  # fmt: skip

    def succeed(self, **result: Any) -> None:
        stage = self.children[JOB, self.job]["metadata"]["labels"][names.STAGE]
        made = RESULTS[stage] | result
        self.end({"state": "Succeeded", "message": f"{stage} is done.", "result": made})

    def lose_pod(self) -> None:
        """The pod of the newest Job is gone without a word."""
        self.end(None, code=1)
        del self.children[POD, f"{self.job}-p"]

    def until_over(self, turns: int = 40) -> "Workshop":
        """Every stage succeeds."""
        for _ in range(turns):
            self.turn()
            if (
                self.made
                and (JOB, self.job) in self.children
                and "status" not in self.children[JOB, self.job]
            ):
                self.succeed()
        return self

    def stage(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(each for each in self.status["stages"] if each["name"] == name)
        return found

    def condition(self, kind: str) -> tuple[str, str]:
        found = next(each for each in self.status["conditions"] if each["type"] == kind)
        return found["status"], found["reason"]

    def specs(self) -> set[str]:
        """Names of the ConfigMaps."""
        return {name for kind, name in self.children if kind == CONFIG_MAP}

    def change(self, **spec: Any) -> None:
        self.parent["spec"] |= spec
        self.parent["metadata"]["generation"] += 1
