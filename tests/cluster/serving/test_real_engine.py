"""A real vLLM on the cluster: installed, asked with the official client, scaled, rolled out, deleted."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from cluster.installation import Installation, condition, image, until
from cluster.kubectl import Kubectl
from cluster.serving.conftest import installed
from cluster.small_model import fetched_weights, forwarded, put_on_claim
from cluster.traffic import traffic

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1500, func_only=True)]
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
    """The model, from this machine's cache."""
    return fetched_weights()


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
