"""The objects on a real API server: what is refused and with which words, what kubectl shows and explains."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cluster.kubectl import Kubectl, KubectlError

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT / "k8s" / "crds"
SAMPLES = sorted((ROOT / "k8s" / "samples").glob("*.yaml"))
MODEL = {"source": "hf://org/name"}
DATA = {
    "baseModel": {"source": "hf://org/name"},
    "dataset": {"sources": [{"name": "a", "source": "s3://bucket/data.jsonl"}]},
}


@pytest.fixture(scope="session", autouse=True)
def definitions(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", f"--kustomize={CRDS}")
    for kind in ("llmservices", "finetunes", "apikeys", "modelroutes", "owners"):
        kubectl("wait", "--for=condition=Established", f"crd/{kind}.slipway.dev", "--timeout=30s")
    # The API server publishes a new kind to validating clients a moment after it is established.
    deadline = time.monotonic() + 60
    while True:
        try:
            kubectl("explain", "llmservice.spec")
            return
        except KubectlError:
            if time.monotonic() > deadline:
                raise


def made(kind: str, spec: dict[str, Any], name: str = "a") -> dict[str, Any]:
    return {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def refused(kubectl: Kubectl, body: dict[str, Any]) -> str:
    with pytest.raises(KubectlError) as caught:
        kubectl("apply", "--dry-run=server", "--filename=-", input=json.dumps(body))
    return str(caught.value)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples_are_taken_as_they_are(kubectl: Kubectl, path: Path) -> None:
    kubectl("apply", "--dry-run=server", f"--filename={path}")


def test_defaults_are_filled_in(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(namespace, made("LLMService", {"model": MODEL, "autoscaling": {}}))
    spec = kubectl.get(namespace, "llm", "a")["spec"]
    assert spec["replicas"] == 1
    assert spec["engine"]["runtime"] == "vllm"
    assert spec["rollout"]["strategy"] == "RollingUpdate"
    assert spec["rollout"]["analysis"]["maxErrorRate"] == "0.05"
    assert spec["autoscaling"]["maxReplicas"] == 4
    assert "idleTimeout" not in spec["autoscaling"]
    assert kubectl.get(namespace, "llm", "a").get("status") is None


def test_free_form_parts_are_kept(kubectl: Kubectl, namespace: str) -> None:
    template = {"spec": {"nodeSelector": {"zone": "a"}, "tolerations": [{"operator": "Exists"}]}}
    engine = {"podTemplate": template, "resources": {"limits": {"cpu": 2, "memory": "24Gi"}}}
    kubectl.apply(namespace, made("LLMService", {"model": MODEL, "engine": engine}))
    there = kubectl.get(namespace, "llm", "a")["spec"]["engine"]
    assert there["podTemplate"] == template
    assert there["resources"]["limits"] == {"cpu": 2, "memory": "24Gi"}


def canary(*weights: int) -> dict[str, Any]:
    return {"strategy": "Canary", "steps": [{"weight": weight} for weight in weights]}


@pytest.mark.parametrize(
    ("kind", "spec", "sentence"),
    [
        ("LLMService", {"model": MODEL, "colour": "red"}, 'unknown field "spec.colour"'),
        ("LLMService", {}, "spec.model: Required value"),
        ("LLMService", {"model": {"source": "ftp://x"}}, "spec.model.source"),
        ("LLMService", {"model": {"source": "hf://x", "task": "sing"}}, 'supported values: "generate"'),
        ("LLMService", {"model": MODEL, "replicas": -1}, "should be greater than or equal to 0"),
        ("LLMService", {"model": MODEL, "replicas": 1.5}, "must be of type integer"),
        (
            "LLMService",
            {"model": MODEL, "engine": {"resources": {"limits": {"cpu": 0.5}}}},
            "must be of type integer,string",
        ),
        ("LLMService", {"model": MODEL, "autoscaling": {"stableWindow": "1 day"}}, "stableWindow"),
        ("LLMService", {"model": MODEL, "autoscaling": {"tolerance": "2"}}, "tolerance"),
        (
            "LLMService",
            {"model": MODEL, "autoscaling": {"minReplicas": 5}},
            "lower minReplicas or raise maxReplicas",
        ),
        ("LLMService", {"model": MODEL, "autoscaling": {"idleTimeout": "5m"}}, "set minReplicas to 0"),
        ("LLMService", {"model": MODEL, "autoscaling": {"panicWindow": "2m"}}, "make it the shorter one"),
        ("LLMService", {"model": MODEL, "rollout": {"strategy": "Canary"}}, "Canary needs steps; add some"),
        (
            "LLMService",
            {"model": MODEL, "rollout": {"steps": [{"weight": 5}]}},
            "set strategy to Canary, or leave steps out",
        ),
        ("LLMService", {"model": MODEL, "rollout": canary(50, 5)}, "the weights of the steps must rise"),
        ("LLMService", {"model": MODEL, "rollout": canary(5, 5)}, "the weights of the steps must rise"),
        (
            "LLMService",
            {"model": MODEL, "cache": {"storageClass": "a", "nodePath": "/b"}},
            "leave out storageClass or nodePath",
        ),
        (
            "LLMService",
            {
                "model": MODEL,
                "adapters": [{"name": "b", "source": "hf://x"}, {"name": "b", "source": "hf://y"}],
            },
            "two adapters have one name; give each a name of its own",
        ),
        (
            "LLMService",
            {"model": {**MODEL, "name": "b"}, "adapters": [{"name": "b", "source": "hf://x"}]},
            "an adapter has the name of its base model",
        ),
        ("LLMService", {"model": MODEL, "pricing": {"inputPerMillion": 0.15}}, "must be of type string"),
        (
            "LLMService",
            {"model": MODEL, "pricing": {"inputPerMillion": "1000001"}},
            "must be at most 1000000 dollars",
        ),
        ("ModelRoute", {"targets": []}, "should have at least 1 items"),
        ("ModelRoute", {"targets": [{"model": "a", "weight": 0}]}, "give at least one of them a share"),
        ("ModelRoute", {"targets": [{"model": "a"}, {"model": "a"}]}, "two targets are one model"),
        ("APIKey", {"expiresAt": "tomorrow"}, "expiresAt"),
        ("APIKey", {"limits": {"requestsPerMinute": 0}}, "should be greater than or equal to 1"),
        ("Owner", {"role": "king"}, 'supported values: "admin", "member"'),
        ("FineTune", {**DATA, "hyperparameters": {"learningRate": 0.1}}, "must be of type string"),
        ("FineTune", {**DATA, "evaluation": {"gates": [{"metric": "loss"}]}}, "a gate needs a bound"),
        (
            "FineTune",
            {**DATA, "search": {"parameters": [{"name": "loraRank"}]}},
            "a parameter is given by values, or by min and max",
        ),
    ],
)
def test_a_mistake_is_refused_at_apply(
    kubectl: Kubectl, kind: str, spec: dict[str, Any], sentence: str
) -> None:
    assert sentence in refused(kubectl, made(kind, spec))


def test_a_name_that_pods_and_services_cannot_have_is_refused(kubectl: Kubectl, namespace: str) -> None:
    for name in ("qwen2.5", "7b", "a" * 49):
        body = made("LLMService", {"model": MODEL}, name)
        assert "into spec.model.name" in refused(kubectl, body)
    kubectl.apply(namespace, made("LLMService", {"model": MODEL}, "a" * 48))


def status(kubectl: Kubectl, namespace: str, what: str, status: dict[str, Any]) -> None:
    patch = json.dumps({"status": status})
    kubectl(
        "patch", f"--namespace={namespace}", what, "--subresource=status", "--type=merge", f"--patch={patch}"
    )


def test_get_shows_what_a_person_wants_to_know(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(namespace, made("LLMService", {"model": {**MODEL, "name": "org/name"}, "replicas": 2}))
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "PodsNotReady",
        "message": "One of two pods serves.",
        "observedGeneration": 1,
        "lastTransitionTime": "2030-01-31T00:00:00Z",
    }
    status(
        kubectl,
        namespace,
        "llm/a",
        {
            "model": "org/name",
            "ready": "1/2",
            "stableRevision": "ab12cd34ef",
            "conditions": [ready],
            "observedGeneration": 1,
        },
    )
    head, line = kubectl("get", f"--namespace={namespace}", "llm").splitlines()
    assert head.split() == ["NAME", "MODEL", "READY", "STATUS", "REVISION", "CANARY", "WEIGHT", "AGE"]
    assert line.split()[:5] == ["a", "org/name", "1/2", "PodsNotReady", "ab12cd34ef"]
    wide = kubectl("get", f"--namespace={namespace}", "llm", "--output=wide")
    for word in ("TASK", "SOURCE", "RUNTIME", "STRATEGY", "hf://org/name", "One of two pods serves."):
        assert word in wide
    kubectl.wait(namespace, "condition=Ready=false", "llm/a")


def test_every_kind_shows_with_its_category(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(
        namespace,
        made("LLMService", {"model": MODEL}),
        made("FineTune", DATA),
        made("APIKey", {"expiresAt": "2030-01-31T00:00:00Z"}),
        made("ModelRoute", {"targets": [{"model": "a"}, {"model": "b"}]}),
        made("Owner", {"name": "me@example.com"}),
    )
    shown = kubectl("get", f"--namespace={namespace}", "slipway")
    for kind in ("llmservice", "finetune", "apikey", "modelroute", "owner"):
        assert f"{kind}.slipway.dev/a" in shown
    assert "me@example.com" in shown
    assert "2030-01-31T00:00:00Z" in shown
    assert kubectl("get", f"--namespace={namespace}", "ft", "--output=name").strip()


def test_scale_changes_the_replicas_and_nothing_else(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(namespace, made("LLMService", {"model": MODEL}))
    before = kubectl.get(namespace, "llm", "a")["spec"]
    status(kubectl, namespace, "llm/a", {"replicas": 1, "selector": "slipway.dev/service=a"})
    kubectl("scale", f"--namespace={namespace}", "llm/a", "--replicas=3")
    assert kubectl.get(namespace, "llm", "a")["spec"] == {**before, "replicas": 3}
    scale = kubectl("get", f"--namespace={namespace}", "llm/a", "--subresource=scale", "--output=json")
    assert json.loads(scale)["status"] == {"replicas": 1, "selector": "slipway.dev/service=a"}


def test_a_status_is_its_controllers_to_write(kubectl: Kubectl, namespace: str) -> None:
    """What is applied with an object changes no status, and what is written there changes no generation."""
    kubectl.apply(namespace, {**made("LLMService", {"model": MODEL}), "status": {"ready": "9/9"}})
    assert "status" not in kubectl.get(namespace, "llm", "a")
    status(kubectl, namespace, "llm/a", {"ready": "0/1"})
    there = kubectl.get(namespace, "llm", "a")
    assert (there["status"]["ready"], there["metadata"]["generation"]) == ("0/1", 1)


def test_two_writers_each_own_an_adapter(kubectl: Kubectl, namespace: str) -> None:
    """A fine-tune adds its adapter to a service that a person's file describes; both go on applying."""

    def apply(manager: str, adapter: str) -> None:
        adapters = [{"name": adapter, "source": f"s3://bucket/{adapter}"}]
        kubectl(
            "apply",
            f"--namespace={namespace}",
            "--server-side",
            f"--field-manager={manager}",
            "--filename=-",
            input=json.dumps(made("LLMService", {"model": MODEL, "adapters": adapters})),
        )

    for manager, adapter in (("person", "formal"), ("tuner", "sql"), ("person", "formal")):
        apply(manager, adapter)
    there = kubectl.get(namespace, "llm", "a")["spec"]["adapters"]
    assert sorted(adapter["name"] for adapter in there) == ["formal", "sql"]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("llmservice", ["A model being served."]),
        ("llmservice.spec", ["autoscaling", "How the model is run.", "-required-"]),
        ("llmservice.spec.autoscaling.idleTimeout", ["minReplicas: 0"]),
        ("llmservice.spec.rollout.steps.weight", ["Percent of the requests"]),
        ("llmservice.status", ["stableRevision", "observedGeneration"]),
        ("finetune.spec.dataset.format", ["ENUM:", "preference", "What a record holds"]),
        ("apikey.spec.limits", ["requestsPerMinute", "US dollars"]),
    ],
)
def test_explain_reads_well(kubectl: Kubectl, field: str, words: list[str]) -> None:
    text = kubectl("explain", field)
    for word in words:
        assert word in text
