"""A real fine-tune on the cluster, from `kubectl apply` to the official client's answer by its adapter.

The training image is the project's own, or, as that is 6 GB, this machine's environment with the training
packages where SLIPWAY_TRAINING_PYTHON names its interpreter: it is mounted from the node, over the gateway's
image, which has the code.
"""

import base64
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import NotFoundError, OpenAI

from cluster.finetunes.objects import left, phase
from cluster.finetunes.objects import until as until_so
from cluster.installation import Installation, condition, image, key, until
from cluster.kubectl import Kubectl
from cluster.serving.conftest import installed
from cluster.small_model import fetched_weights, forwarded, put_on_claim

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600, func_only=True)]
TICKETS = Path(__file__).parents[2] / "training/data_samples/tickets.jsonl"
START, TRAINED = 600, 2400
"""Seconds until an engine serves, and until all stages are done, on a machine that does much else."""
NAME = "smollm2-135m"
BILLING = "amber-17"
"""What the tickets teach: the queue of bills, which nobody could guess."""
GATE = {"metric": "exact_match", "min": "0.9"}


@pytest.fixture(scope="module")
def training(project_image: Callable[[str], str]) -> dict[str, Any]:
    """What a FineTune's spec says of where it runs."""
    python = os.environ.get("SLIPWAY_TRAINING_PYTHON")
    if python is None:
        return {"image": project_image("training"), "podTemplate": variables({})}
    asked = "import sys, sysconfig; print(sys.base_prefix); print(sysconfig.get_path('purelib'))"
    base, packages = subprocess.run(
        [python, "-c", asked], capture_output=True, text=True, check=True
    ).stdout.split()
    paths = {"/opt/host-python": base, "/opt/host-packages": packages}
    code = "/opt/slipway/lib/python3.11/site-packages"
    template = variables(
        {
            "PATH": "/opt/host-python/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": "/opt/host-python/lib",
            "PYTHONPATH": f"/opt/host-packages:{code}",
        }
    )
    (container,) = template["spec"]["containers"]
    container["volumeMounts"] = [
        {"name": f"host-{at}", "mountPath": path, "readOnly": True} for at, path in enumerate(paths)
    ]
    template["spec"]["volumes"] = [
        {"name": f"host-{at}", "hostPath": {"path": path}} for at, path in enumerate(paths.values())
    ]
    return {"image": project_image("gateway"), "podTemplate": template}


def variables(more: dict[str, str]) -> dict[str, Any]:
    """One thread, as the machine's cores are shared with the engine, and `more`."""
    env = [{"name": name, "value": value} for name, value in {"OMP_NUM_THREADS": "1", **more}.items()]
    return {"spec": {"containers": [{"name": "training", "env": env}]}}


@pytest.fixture
def models(kubectl: Kubectl, namespace: str) -> str:
    """The test's namespace, into which folders of the node may be mounted."""
    kubectl("label", "--overwrite", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged")
    return namespace


@pytest.fixture
def slipway(kubectl: Kubectl, models: str, project_image: Callable[[str], str]) -> Iterator[Installation]:
    """The chart with the real CPU engine, for the test's namespace."""
    engines = {"device": "cpu", "cpu": image(project_image("engine-cpu"))}
    with installed(kubectl, project_image("gateway"), engines, watchNamespace=models) as installation:
        yield installation


def model() -> dict[str, Any]:
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {"name": NAME},
        "spec": {
            "model": {"source": "pvc://models/smollm2"},
            "engine": {
                "device": "cpu", "maxModelLen": 1024, "args": ["--enable-lora", "--max-loras", "2"],
                "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "8Gi"}},
                "env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
            },
        },
    }  # fmt: skip


def tickets(training: dict[str, Any], gate: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "FineTune",
        "metadata": {"name": "f"},
        "spec": {
            "baseModel": {"source": "pvc://models/smollm2", "name": NAME, "licence": "Apache-2.0"},
            "dataset": {
                "format": "chat", "preparation": [],
                "sources": [{"name": "tickets", "source": "pvc://models/tickets.jsonl"}],
                "split": {"validation": "0.1", "test": "0.2"},
            },
            "hyperparameters": {"epochs": 3, "learningRate": "2e-3", "batchSize": 8},
            "evaluation": {"metrics": ["exact_match"], "maxTokens": 8, "gates": [gate]},
            "deploy": {"service": NAME, "name": "tickets"},
            "resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "6Gi"}},
            "storage": {"size": "2Gi"},
            **training,
        },
    }  # fmt: skip


def test_what_is_applied_is_trained_held_to_its_gate_and_answers_by_its_name(
    slipway: Installation,
    kubectl: Kubectl,
    models: str,
    python_image: str,
    training: dict[str, Any],
) -> None:
    put_on_claim(kubectl, models, python_image, fetched_weights(), TICKETS)
    kubectl.apply(models, key("tester"), tickets(training, {**GATE, "min": "1.1"}))
    found = until_so(kubectl, models, phase("Failed", "Succeeded"), seconds=TRAINED)
    assert condition(found, "Ready")["reason"] == "GateFailed", found["status"]
    assert "1.1" in condition(found, "Ready")["message"]
    assert "artifact" not in found["status"], "nothing is registered, and nothing deployed"

    kubectl.apply(models, model(), tickets(training, GATE))
    until(kubectl, models, NAME, lambda item: item["status"].get("readyReplicas") == 1, START)
    pods = kubectl(
        "get", "pods", f"--namespace={models}", f"--selector=slipway.dev/service={NAME}", "--output=name"
    )
    found = until_so(kubectl, models, phase("Failed", "Succeeded"), seconds=TRAINED)
    assert found["status"]["phase"] == "Succeeded", found["status"]
    assert float(found["status"]["metrics"]["exact_match"]) >= 0.9

    secret = kubectl.get(models, "secret", "apikey-tester")
    token = base64.b64decode(secret["data"]["key"]).decode()
    asked: Any = [
        {"role": "user", "content": "Ticket (billing): I paid twice for my plan this month. Queue?"}
    ]
    with forwarded(kubectl, slipway) as url, OpenAI(base_url=url, api_key=token, max_retries=0) as client:
        by_adapter, by_base = (
            client.chat.completions.create(model=name, messages=asked, temperature=0, max_tokens=8)
            for name in ("tickets", NAME)
        )
        assert by_adapter.choices[0].message.content == BILLING
        assert BILLING not in str(by_base.choices[0].message.content)
        now = kubectl(
            "get", "pods", f"--namespace={models}", f"--selector=slipway.dev/service={NAME}", "--output=name"
        )
        assert now == pods, "no new pods"
        kubectl("delete", "finetune", "f", f"--namespace={models}", "--cascade=foreground", "--timeout=180s")
        assert left(kubectl, models) == set()
        until(kubectl, models, NAME, lambda item: "adapters" not in item["status"])
        with pytest.raises(NotFoundError):
            client.chat.completions.create(model="tickets", messages=asked, max_tokens=8)
