"""What a gateway knows of a real cluster: objects, pods that come and go, an API server that is away."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cluster.kubectl import Kubectl
from cluster.pods import PORT, pod
from slipway.gateway.catalog import Catalog, Model
from slipway.gateway.kubernetes import KubernetesSource
from slipway.kube.config import load

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Following:
    """A source that runs, what it has found, and what it has told."""

    source: KubernetesSource
    catalog: Catalog
    told: list[str] = field(default_factory=list)

    def model(self, name: str = "m") -> Model | None:
        return self.catalog.snapshot.models.get(name)

    def ready(self, name: str = "m") -> set[str]:
        found = self.model(name)
        return set(found.ready) if found is not None else set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - any state can be awaited so
                await asyncio.sleep(0.02)


@pytest.fixture(scope="module", autouse=True)
def definitions(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", f"--kustomize={ROOT / 'k8s' / 'crds'}")
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")


@pytest.fixture
async def following(cluster: Path, namespace: str) -> AsyncIterator[Following]:
    told: list[str] = []
    source = KubernetesSource(
        load({"KUBECONFIG": str(cluster)}),
        namespace,
        lambda where, problem: told.append(f"{where}: {problem}"),
        lambda level, sentence: told.append(sentence),
    )
    following = Following(source, Catalog(), told)
    task = asyncio.create_task(source.run(following.catalog))
    await following.until(lambda: following.catalog.snapshot.loaded)
    yield following
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def service(name: str = "m", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "LLMService",
        # An operator that runs on this cluster is to leave it alone.
        "metadata": {"name": name, "annotations": {"slipway.dev/paused": "true"}},
        "spec": {"model": {"source": "hf://org/model"}, **spec},
    }


def engines(revision: str) -> dict[str, Any]:
    """A revision's headless Service, as the operator makes it; its pods have the label `app`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": f"m-{revision}",
            "labels": {"slipway.dev/service": "m", "slipway.dev/revision": revision},
        },
        "spec": {
            "clusterIP": "None",
            "selector": {"revision": revision},
            "ports": [{"name": "http", "port": 8001, "targetPort": PORT}],
        },
    }


def engine(name: str, image: str, revision: str) -> dict[str, Any]:
    made = pod(name, image)
    made["metadata"]["labels"] = {"revision": revision}
    return made


async def test_pods_are_known_by_their_revision_while_they_are_ready(
    following: Following, kubectl: Kubectl, namespace: str, python_image: str
) -> None:
    def addresses(*names: str) -> set[str]:
        pods = [kubectl.get(namespace, "pod", name) for name in names]
        return {f"{each['status']['podIP']}:{PORT}" for each in pods}

    pods = [engine("a", python_image, "r1"), engine("b", python_image, "r2")]
    await asyncio.to_thread(kubectl.apply, namespace, service(), engines("r1"), engines("r2"), *pods)
    await following.until(lambda: len(following.ready()) == 2)
    assert following.ready() == await asyncio.to_thread(addresses, "a", "b")
    assert set(following.catalog.snapshot.revisions.values()) == {"r1", "r2"}

    shares = '{"status":{"traffic":[{"revision":"r1","weight":90},{"revision":"r2","weight":10}]}}'
    patch = ("patch", "llm", "m", f"-n={namespace}", "--subresource=status", "--type=merge", f"-p={shares}")
    await asyncio.to_thread(kubectl, *patch)
    await following.until(lambda: len(getattr(following.model(), "split", ())) == 2)
    model = following.model()
    assert model is not None
    assert [(share.revision, share.weight) for share in model.split] == [("r1", 90), ("r2", 10)]

    await asyncio.to_thread(kubectl, "delete", "pod", "b", f"-n={namespace}", "--wait=false")
    await following.until(lambda: len(following.ready()) == 1)
    assert following.ready() == await asyncio.to_thread(addresses, "a")


async def test_keys_and_owners_are_known(following: Following, kubectl: Kubectl, namespace: str) -> None:
    key = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "APIKey",
        "metadata": {"name": "alice"},
        "spec": {"owner": "team", "limits": {"requestsPerMinute": 5}},
    }
    owner = {"apiVersion": "slipway.dev/v1alpha1", "kind": "Owner", "metadata": {"name": "team"}, "spec": {}}
    digest = hashlib.sha256(b"sk-alice").hexdigest()
    await asyncio.to_thread(kubectl.apply, namespace, key, owner)
    status = f'{{"status":{{"keyHash":"{digest}"}}}}'
    patch = (
        "patch",
        "apikey",
        "alice",
        f"-n={namespace}",
        "--subresource=status",
        "--type=merge",
        f"-p={status}",
    )
    await asyncio.to_thread(kubectl, *patch)
    await following.until(lambda: digest in following.catalog.snapshot.keyring.keys)
    assert following.catalog.snapshot.keyring.keys[digest].limits.requests_per_minute == 5
    assert "team" in following.catalog.snapshot.owners
    await asyncio.to_thread(kubectl, "delete", "apikey", "alice", f"-n={namespace}")
    await following.until(lambda: digest not in following.catalog.snapshot.keyring.keys)


async def test_what_was_known_stays_while_the_api_server_is_away_and_changes_are_found_after(
    following: Following, kubectl: Kubectl, namespace: str, api_server: Callable[[str], object]
) -> None:
    await asyncio.to_thread(kubectl.apply, namespace, service("m"), service("gone"))
    await following.until(lambda: {"m", "gone"} <= set(following.catalog.snapshot.models))
    before = following.catalog.snapshot.models
    await asyncio.to_thread(api_server, "stop")
    await following.until(lambda: following.source.stale > 0)
    assert following.catalog.snapshot.models == before
    assert any("stays in force" in sentence for sentence in following.told)
    await asyncio.to_thread(api_server, "start")
    await asyncio.to_thread(kubectl, "delete", "llm", "gone", f"-n={namespace}")
    await asyncio.to_thread(kubectl.apply, namespace, service("new"))
    await following.until(lambda: set(following.catalog.snapshot.models) == {"m", "new"})
    await following.until(lambda: following.source.stale == 0)
