"""Before an API server that fails, forgets and repeats itself the operator comes to the same state."""

import asyncio
from pathlib import Path

import pytest

from cluster.convergence import CHANGED, OBJECTS, alone, one_revision, settled, state, turned, until
from cluster.installation import key
from cluster.kubectl import Kubectl
from cluster.lying_proxy import FAULTS, LyingProxy, quiet
from cluster.operators import acting
from slipway.kube.config import Connection, load

KEYS = [key(f"k{number}") for number in range(8)]
"""Nothing happens to a key that would remind the operator of a turn that failed."""


@pytest.fixture
def connection(cluster: Path) -> Connection:
    return load({"KUBECONFIG": str(cluster)})


@pytest.fixture(scope="module", autouse=True)
def definitions(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "--kustomize=k8s/crds")
    kubectl("wait", "--for=condition=Established", "crd", "llmservices.slipway.dev", "apikeys.slipway.dev")


async def make_and_change(kubectl: Kubectl, connection: Connection, namespace: str, image: str) -> None:
    """Make the objects, and change one for an operator that knows nothing of the first time."""
    kubectl.apply(namespace, *OBJECTS, *KEYS)
    async with acting(connection, namespace, engine_image_cpu=image):
        await until(kubectl, namespace, settled, "the first rollout")
        await asyncio.to_thread(kubectl.wait, namespace, "condition=Ready", "apikey", "--all")
    kubectl.apply(namespace, CHANGED)
    async with acting(connection, namespace, engine_image_cpu=image):
        await until(kubectl, namespace, settled, "the second rollout")
        await until(kubectl, namespace, lambda found: one_revision(kubectl, namespace), "the old one's end")
        await until(kubectl, namespace, alone, "one replica")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_the_api_server_does_it_comes_to_the_same_state_and_stays_there(
    kubectl: Kubectl, connection: Connection, namespace: str, fake_engine: str, seed: int
) -> None:
    await make_and_change(kubectl, connection, namespace, fake_engine)
    expected = state(kubectl, namespace)
    kubectl("delete", "llmservices,apikeys", "--all", f"--namespace={namespace}", "--cascade=foreground")

    proxy = LyingProxy(connection, seed, share=0.25)
    async with proxy.serving() as lying:
        await make_and_change(kubectl, lying, namespace, fake_engine)
        while proxy.told.keys() != FAULTS:  # Who starts lists and watches everything anew.
            async with acting(lying, namespace, engine_image_cpu=fake_engine) as another:
                await turned(another, "LLMService")
        assert state(kubectl, namespace) == expected

        proxy.share = 0.0
        async with acting(lying, namespace, engine_image_cpu=fake_engine) as honest:
            await turned(honest, "LLMService")
            await turned(honest, "APIKey")
            await quiet(proxy, 1.0)
            assert state(kubectl, namespace) == expected
            assert honest.client.writes == 0
