"""The client against a real API server: what the scripted one only pretends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from cluster.kubectl import Kubectl
from slipway.kube import Client, Informer, Obj
from slipway.kube.config import load
from slipway.kube.credentials import Credential, FixedCredentials
from slipway.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
)
from slipway.kube.kinds import CONFIG_MAP, LLM_SERVICE, POD, SERVICE_ACCOUNT


@pytest.fixture
async def client(cluster: Path) -> AsyncIterator[Client]:
    async with Client(load({"KUBECONFIG": str(cluster)}), manager="tester") as client:
        yield client


def config(namespace: str, name: str = "a", **data: str) -> Obj:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


def pod(namespace: str, **container: object) -> Obj:
    spec = {"containers": [{"name": "c", "image": "i", **container}]}
    return {"metadata": {"name": "p", "namespace": namespace}, "spec": spec}


async def test_fields_belong_to_who_applied_them(client: Client, namespace: str) -> None:
    await client.apply(CONFIG_MAP, config(namespace, x="1", y="1"))
    with pytest.raises(ConflictError) as caught:
        await client.apply(CONFIG_MAP, config(namespace, x="2"), manager="other", force=False)
    assert not isinstance(caught.value, AlreadyExistsError)
    await client.apply(CONFIG_MAP, config(namespace, x="2"), manager="other")
    made = await client.apply(CONFIG_MAP, config(namespace, y="1"))
    assert made["data"] == {"x": "2", "y": "1"}


async def test_old_versions_are_refused(client: Client, namespace: str) -> None:
    first = await client.create(CONFIG_MAP, config(namespace, x="1"))
    with pytest.raises(AlreadyExistsError):
        await client.create(CONFIG_MAP, config(namespace, x="1"))
    await client.merge(CONFIG_MAP, namespace, "a", {"data": {"x": "2"}})
    with pytest.raises(ConflictError):
        await client.replace(CONFIG_MAP, {**first, "data": {"x": "3"}})
    version = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}}
    with pytest.raises(ConflictError):
        await client.merge(CONFIG_MAP, namespace, "a", {**version, "data": {"x": "3"}})
    with pytest.raises(ConflictError):
        await client.delete(CONFIG_MAP, namespace, "a", uid="another")
    assert (await client.get(CONFIG_MAP, namespace, "a"))["data"] == {"x": "2"}
    assert await client.delete(CONFIG_MAP, namespace, "a", uid=first["metadata"]["uid"])
    with pytest.raises(NotFoundError):
        await client.get(CONFIG_MAP, namespace, "a")


async def test_wrong_objects_are_refused_at_once(client: Client, namespace: str) -> None:
    with pytest.raises(InvalidError, match="not declared in schema"):
        await client.apply(CONFIG_MAP, {**config(namespace), "dta": {}}, strict=True)
    mount = {"name": "no-such-volume", "mountPath": "/x"}
    with pytest.raises(InvalidError, match="no-such-volume"):
        await client.create(POD, pod(namespace, volumeMounts=[mount]))
    with pytest.raises(ForbiddenError, match="PodSecurity"):
        await client.create(POD, pod(namespace))
    assert sum(client.calls.values()) == 3


async def test_lists_come_in_pages_and_watches_from_where_they_were(client: Client, namespace: str) -> None:
    for number in range(5):
        await client.create(CONFIG_MAP, config(namespace, f"m{number}"))
    listing = await client.list(CONFIG_MAP, namespace, page=2)
    names = [item["metadata"]["name"] for item in listing.items]
    assert [name for name in names if name.startswith("m")] == [f"m{number}" for number in range(5)]
    assert client.calls["list", "configmaps", 200] == 3  # Five, and that of the cluster's authority.
    await client.delete(CONFIG_MAP, namespace, "m0")
    async with client.watch(
        CONFIG_MAP, namespace, resource_version=listing.resource_version, seconds=30
    ) as events:
        first = await anext(events)
    assert (first.type, first.object["metadata"]["name"]) == ("DELETED", "m0")


async def test_a_forgotten_version_is_gone(kubectl: Kubectl, client: Client, namespace: str) -> None:
    # Of a kind that is younger than the cluster; of others a young API server still knows the first version.
    kubectl("apply", "--server-side", "--force-conflicts", "--kustomize=k8s/crds")
    kubectl("wait", "--for=condition=Established", "crd", "llmservices.slipway.dev")
    await client.list(LLM_SERVICE, namespace)  # Tried again while the server takes its new shape in.
    with pytest.raises(GoneError):
        async with client.watch(LLM_SERVICE, namespace, resource_version="1", seconds=5) as events:
            await anext(events)


async def test_an_informer_follows(client: Client, namespace: str) -> None:
    changes: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def changed(old: Obj | None, new: Obj | None) -> None:
        item = new if new is not None else old
        assert item is not None
        what = "made" if old is None else "deleted" if new is None else "changed"
        changes.put_nowait((what, item["metadata"]["name"]))

    informer = Informer(client, CONFIG_MAP, namespace, selector="mine", on_change=changed)
    task = asyncio.create_task(informer.run())
    await informer.synced()
    assert not informer.items
    body = config(namespace, x="1")
    body["metadata"]["labels"] = {"mine": "yes"}
    await client.apply(CONFIG_MAP, body)
    await client.apply(CONFIG_MAP, config(namespace, "stranger"))
    await client.merge(CONFIG_MAP, namespace, "a", {"data": {"x": "2"}})
    assert [await changes.get() for _ in range(2)] == [("made", "a"), ("changed", "a")]
    assert set(informer.items) == {(namespace, "a")}
    await client.merge(CONFIG_MAP, namespace, "a", {"metadata": {"labels": {"mine": None}}})
    assert await changes.get() == ("deleted", "a")
    assert not informer.items
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_token_that_is_good_for_nothing_is_refused(
    client: Client, namespace: str, cluster: Path
) -> None:
    account = {"metadata": {"name": "nobody", "namespace": namespace}}
    await client.create(SERVICE_ACCOUNT, account)
    asked = {**account, "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = await client.create(SERVICE_ACCOUNT, asked, subresource="token")
    connection = load({"KUBECONFIG": str(cluster)})
    connection.credentials = FixedCredentials(Credential(made["status"]["token"]))
    async with Client(connection) as nobody:
        with pytest.raises(ForbiddenError, match=f"system:serviceaccount:{namespace}:nobody"):
            await nobody.list(CONFIG_MAP, namespace)
