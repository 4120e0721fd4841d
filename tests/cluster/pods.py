"""Small pods that answer over HTTP, and asking from inside one."""

from typing import Any

from cluster.kubectl import Kubectl

PORT = 8080
SERVE = ["python3", "-u", "-m", "http.server", str(PORT), "--directory", "/usr/share/doc/python3"]


def pod(name: str, image: str, command: list[str] = SERVE, **spec: Any) -> dict[str, Any]:
    """A pod that Pod Security `restricted` lets in. It is ready when it answers on PORT."""
    container = {
        "name": "main",
        "image": image,
        "command": command,
        "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": volume["name"], "mountPath": "/data"} for volume in spec.get("volumes", [])
        ],
    }
    security = {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": {**security, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            **spec,
        },
    }


def service(name: str) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": PORT}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def fetch(kubectl: Kubectl, namespace: str, pod: str, url: str) -> str:
    """The status that `pod` gets from `url`; it asks for up to 60 s, until the Service is known."""
    script = (
        "import sys, time, urllib.request\n"
        "end = time.monotonic() + 60\n"
        "while True:\n"
        "    try:\n"
        "        print(urllib.request.urlopen(sys.argv[1], timeout=5).status)\n"
        "        break\n"
        "    except OSError:\n"
        "        if time.monotonic() > end: raise\n"
        "        time.sleep(0.1)\n"
    )
    return kubectl("exec", f"--namespace={namespace}", pod, "--", "python3", "-c", script, url).strip()
