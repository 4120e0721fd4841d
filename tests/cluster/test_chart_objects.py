"""The chart before the real API server: what it takes, what an upgrade changes, what an uninstall leaves."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.helm import CHART, CI, Helm, HelmError, program
from cluster.kubectl import Kubectl, KubectlError
from cluster.places import CHECKOUT

# Kinds of which a cluster knows only where their makers' software is installed.
ELSEWHERE = frozenset({"Certificate", "HTTPRoute", "PodMonitor", "PrometheusRule", "ServiceMonitor"})
OURS = "app.kubernetes.io/part-of=slipway"
SMALL = "--set=database.ephemeral=true,gateway.replicas=2,redis.mode=embedded,engines.device=cpu"
Object = dict[str, Any]


@pytest.fixture
def helm(cluster: Path) -> Helm:
    return Helm(program(), cluster)


@pytest.fixture
def release(helm: Helm, namespace: str) -> Iterator[str]:
    """An installed release, not waited for: pods are another test's matter.

    The definitions stay when it goes. An API server that is to forget and learn them again and again takes
    minutes for it.
    """
    name = f"r{namespace[-6:]}"
    helm("install", name, CHART, "--namespace", namespace, "--take-ownership", SMALL)
    yield name
    helm("uninstall", name, "--namespace", namespace, "--ignore-not-found")


def dry_run(kubectl: Kubectl, *objects: Object) -> str:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    flags = ("--server-side", "--force-conflicts", "--dry-run=server")
    return kubectl("apply", *flags, "--filename=-", input=text)


@pytest.mark.parametrize("values", CI, ids=lambda path: path.stem)
def test_the_api_server_takes_every_object(
    helm: Helm, kubectl: Kubectl, namespace: str, values: Path
) -> None:
    # Of these values one names a namespace of its own.
    watched = f"--set-string=watchNamespace={namespace if 'one-namespace' in values.stem else ''}"
    rendered = helm.render("--values", values, watched, release=namespace, namespace=namespace)
    known = [item for item in rendered if item["kind"] not in ELSEWHERE]
    took = dry_run(kubectl, *known).splitlines()
    assert len(took) == len(known) > 10


@pytest.mark.parametrize("values", CI, ids=lambda path: path.stem)
def test_every_pod_gets_past_pod_security_restricted(
    helm: Helm, kubectl: Kubectl, namespace: str, values: Path
) -> None:
    rendered = helm.render("--values", values, namespace=namespace)
    for item in rendered:
        if item["kind"] not in ("Deployment", "Pod"):
            continue
        spec = item["spec"] if item["kind"] == "Pod" else item["spec"]["template"]["spec"]
        for field in ("serviceAccountName", "priorityClassName"):
            spec.pop(field, None)
        metadata = {"name": "a", "namespace": namespace}
        dry_run(kubectl, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        container = spec["containers"][0]
        container["securityContext"]["allowPrivilegeEscalation"] = True
        with pytest.raises(KubectlError, match="violates PodSecurity"):
            dry_run(kubectl, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def test_an_upgrade_keeps_what_was_made_once_and_replaces_only_what_changed(
    helm: Helm, kubectl: Kubectl, release: str, namespace: str
) -> None:
    def secrets() -> dict[str, Any]:
        found = kubectl.get(namespace, "secrets", "-l", OURS)["items"]
        return {item["metadata"]["name"]: item["data"] for item in found}

    def generations() -> dict[str, int]:
        found = kubectl.get(namespace, "deployments", "-l", OURS)["items"]
        return {item["metadata"]["name"]: item["metadata"]["generation"] for item in found}

    made, began = secrets(), generations()
    key = base64.b64decode(made[f"{release}-slipway-engine-key"]["engine-key"])
    assert len(key) >= 32
    assert len(made) == 2
    assert set(began.values()) == {1}
    upgrade = ("upgrade", release, CHART, "--namespace", namespace, SMALL)
    helm(*upgrade)
    assert secrets() == made
    assert generations() == began
    helm(*upgrade, "--set", "gateway.settings.max_body=1048576")
    assert secrets() == made
    assert generations() == began | {f"{release}-slipway-gateway": 2}
    helm("rollback", release, "2", "--namespace", namespace)
    assert secrets() == made
    assert generations() == began | {f"{release}-slipway-gateway": 3}


def test_an_uninstall_leaves_the_definitions_and_nothing_else(
    helm: Helm, kubectl: Kubectl, release: str, namespace: str
) -> None:
    kinds = "deployments,services,secrets,configmaps,serviceaccounts,roles,rolebindings,networkpolicies,pdb"
    there = kubectl("get", kinds, "-n", namespace, "-l", OURS, "-o", "name").splitlines()
    assert len(there) > 10
    helm("uninstall", release, "--namespace", namespace, "--wait")
    labels = f"{OURS},app.kubernetes.io/instance={release}"
    assert kubectl("get", kinds, "-n", namespace, "-l", labels, "-o", "name") == ""
    assert kubectl("get", "clusterroles,clusterrolebindings", "-l", labels, "-o", "name") == ""
    assert len(kubectl("get", "crd", "-l", OURS, "-o", "name").splitlines()) == 5
    # The kept definitions are in nobody's way.
    helm("install", release, CHART, "--namespace", namespace, SMALL)


def test_an_upgrade_brings_definitions_up_to_date(
    helm: Helm, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    def columns() -> str:
        path = "jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}"
        return kubectl("get", "crd", "owners.slipway.dev", "-o", path)

    old = tmp_path / "slipway"
    shutil.copytree(CHART, old)
    definition = old / "files/crds/slipway.dev_owners.yaml"
    owner = yaml.safe_load(definition.read_text())
    del owner["spec"]["versions"][0]["additionalPrinterColumns"]
    text = yaml.safe_dump(owner, sort_keys=False)
    definition.write_text(f"# As it was.\n{text}")
    name = f"r{namespace[-6:]}"
    helm("install", name, old, "--namespace", namespace, "--take-ownership", "--force-conflicts", SMALL)
    assert columns() == ""
    helm("upgrade", name, CHART, "--namespace", namespace, SMALL)
    assert "Role" in columns()
    helm("uninstall", name, "--namespace", namespace)


def test_rights_reach_as_far_as_they_must(kubectl: Kubectl, release: str, namespace: str) -> None:
    def may(component: str, *what: str) -> bool:
        account = f"system:serviceaccount:{namespace}:{release}-slipway-{component}"
        command = [str(kubectl.program), f"--kubeconfig={kubectl.kubeconfig}", "auth", "can-i", *what]
        asked = subprocess.run([*command, f"--as={account}"], capture_output=True, text=True)
        assert asked.stdout.strip() in ("yes", "no"), asked.stderr
        return asked.stdout.strip() == "yes"

    for resource in ("llmservices", "apikeys", "owners", "modelroutes"):
        assert may("gateway", "watch", f"{resource}.slipway.dev", "-n", "default")
        assert not may("gateway", "patch", f"{resource}.slipway.dev", "-n", "default")
    assert may("gateway", "watch", "endpointslices.discovery.k8s.io", "-n", "default")
    assert not may("gateway", "get", "secrets", "-n", namespace)
    assert may("operator", "create", "deployments.apps", "-n", "default")
    assert may("operator", "patch", "llmservices.slipway.dev", "--subresource=status", "-n", "default")
    assert not may("operator", "patch", "llmservices.slipway.dev", "-n", "default")
    assert not may("operator", "create", "roles.rbac.authorization.k8s.io", "-n", namespace)
    assert not may("operator", "create", "pods", "-n", "default")
    assert not may("operator", "update", "leases.coordination.k8s.io/another", "-n", namespace)


SAMPLES = sorted((CHECKOUT / "k8s/samples").glob("*.yaml"))


def test_every_sample_is_taken_as_it_is(kubectl: Kubectl, release: str, namespace: str) -> None:
    kubectl("wait", "--for=condition=Established", "crd", "-l", OURS, "--timeout=30s")
    for path in SAMPLES:
        kubectl("apply", "-n", namespace, "--server-side", "--dry-run=server", "--filename", str(path))


def test_the_base_is_taken_as_it_is(kubectl: Kubectl, namespace: str) -> None:
    built = subprocess.run(
        [str(kubectl.program), "kustomize", str(CHECKOUT / "k8s/base")], capture_output=True, text=True
    )
    objects = [each for each in yaml.safe_load_all(built.stdout) if each["kind"] != "Namespace"]
    for item in objects:
        if "namespace" in item["metadata"]:
            item["metadata"]["namespace"] = namespace
    assert len(dry_run(kubectl, *objects).splitlines()) == len(objects) > 15


def test_a_wrong_value_stops_an_upgrade_before_anything_is_changed(
    helm: Helm, release: str, namespace: str
) -> None:
    with pytest.raises(HelmError, match="additional properties 'replica' not allowed"):
        helm("upgrade", release, CHART, "--namespace", namespace, SMALL, "--set", "gateway.replica=3")
    history = json.loads(helm("history", release, "--namespace", namespace, "--output=json"))
    assert [each["revision"] for each in history] == [1]
