"""Two gateways that share the chart's Redis and a PostgreSQL: exact together, whole when a store is lost."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.helm import Helm, program
from cluster.installation import RELEASE, Installation, condition, image, key, service, until
from cluster.kubectl import Kubectl
from cluster.traffic import traffic

LIMIT, BURST = 40, 100
_BURST = """
import concurrent.futures, json, os, urllib.error, urllib.request
def ask(number):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    headers = {"authorization": "Bearer " + os.environ["KEY"], "content-type": "application/json"}
    try:
        url = os.environ["URL"] + "/v1/chat/completions"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(json.dumps(list(pool.map(ask, range(int(os.environ["BURST"]))))))
"""
"""A hundred requests, each over a connection of its own: kube-proxy shares them out over the gateways."""
_POSTGRES = """
export PATH=/usr/lib/postgresql/15/bin:$PATH
[ -s /data/db/PG_VERSION ] || initdb -D /data/db -U slipway --auth=trust >/dev/null
exec postgres -D /data/db -c listen_addresses='*' -c unix_socket_directories=/tmp -c hba_file=/tmp/hba
"""
_RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def postgres(image: str) -> list[dict[str, Any]]:
    """A pod that keeps its data while it lives, a Service, and the Secret with its URL."""
    script = "echo 'host all all all trust' > /tmp/hba" + _POSTGRES
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}]
    container = {
        "name": "postgres",
        "image": image,
        "command": ["sh", "-c", script],
        "securityContext": {**_RESTRICTED, "readOnlyRootFilesystem": True},
        "readinessProbe": {"exec": {"command": ["pg_isready", "-h", "127.0.0.1"]}, "periodSeconds": 1},
        "volumeMounts": mounts,
    }
    user = {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001}
    spec = {
        "containers": [container],
        "securityContext": {**user, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    }
    labels = {"app": "postgres"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "postgres", "labels": labels},
            "spec": spec,
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "postgres"},
            "spec": {"selector": labels, "ports": [{"port": 5432}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "database"},
            "stringData": {"url": "postgresql://slipway@postgres/postgres"},
        },
    ]


@pytest.fixture
def installed(
    kubectl: Kubectl, namespace: str, project_image: Callable[[str], str], fake_engine: str
) -> Iterator[Installation]:
    """A release of two gateways with both stores, a model, a key without limits and one with."""
    stores = project_image("stores")
    kubectl.apply(namespace, *postgres(stores))
    kubectl.wait(namespace, "condition=Ready", "pod/postgres")
    small = {"requests": {"cpu": "10m", "memory": "128Mi"}}
    values = {
        "watchNamespace": namespace,
        "gateway": {"replicas": 2, "image": image(project_image("gateway")), "resources": small},
        "operator": {"replicas": 1, "resources": small},
        "engines": {"device": "cpu", "cpu": image(fake_engine)},
        "database": {"existingSecret": {"name": "database"}},
        "redis": {"mode": "embedded", "embedded": {"image": image(stores), "resources": small}},
    }
    installation = Installation(kubectl, Helm(program(), kubectl.kubeconfig), namespace, values)
    installation.install()
    limited = key("limited", limits={"requestsPerMinute": LIMIT})
    kubectl.apply(namespace, service("m"), key("tester"), limited)
    until(kubectl, namespace, "m", lambda found: condition(found, "Ready").get("status") == "True")
    kubectl.wait(namespace, "condition=Ready", "apikey/tester", "apikey/limited")
    yield installation
    kubectl("delete", f"--namespace={namespace}", "llmservices,apikeys", "--all")
    installation.uninstall()


def test_two_gateways_count_as_one_and_lose_nothing_with_a_store(
    installed: Installation, kubectl: Kubectl, namespace: str, python_image: str
) -> None:
    plain = kubectl("get", "secret", "apikey-limited", f"--namespace={namespace}", "--template={{.data.key}}")
    script = f"BURST={BURST} KEY=$(echo {plain} | base64 -d) URL={installed.url} exec python3 -c '{_BURST}'"
    gateway = f"deployment/{RELEASE}-gateway"
    said = kubectl("exec", f"--namespace={namespace}", gateway, "--", "sh", "-c", script)
    answers = json.loads(said)
    assert (answers.count(200), answers.count(429)) == (LIMIT, BURST - LIMIT)

    with traffic(
        kubectl, namespace, python_image, url=installed.url, key="apikey-tester", model="m"
    ) as asking:
        asking.goes_on()
        redis = "--selector=app.kubernetes.io/component=redis"
        kubectl("delete", "pod", f"--namespace={namespace}", redis)
        asking.goes_on()
        kubectl("exec", f"--namespace={namespace}", "postgres", "--", "sh", "-c", "kill -INT 1")
        asking.goes_on()
        kubectl.wait(namespace, "condition=Available", f"deployment/{RELEASE}-redis")
        kubectl.wait(namespace, "condition=Ready", "pod/postgres")
        asking.goes_on()
        counts = asking.end()
        assert asking.failures() == []
    assert counts["ok"] == counts["sent"] > 70

    usage = ("slipway", "usage", "--by", "key", "--output", "json")
    end = time.monotonic() + 60
    wanted = counts["sent"] + BURST  # What is refused is recorded as well.
    while True:
        told = json.loads(kubectl("exec", f"--namespace={namespace}", gateway, "--", *usage))
        if told["total"]["requests"] >= wanted or time.monotonic() > end:
            break
        time.sleep(0.5)
    assert told["total"]["requests"] == wanted
