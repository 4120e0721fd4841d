"""An operator that carries FineTunes out by the fake training."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.kubectl import Kubectl
from cluster.operators import Running, acting
from slipway.kube.config import Connection, load


@pytest.fixture
def connection(cluster: Path) -> Connection:
    return load({"KUBECONFIG": str(cluster)})


@pytest.fixture(scope="session")
def definitions(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "--kustomize=k8s/crds")
    kubectl("wait", "--for=condition=Established", "crd", "finetunes.slipway.dev", "llmservices.slipway.dev")


@contextmanager
def in_background(connection: Connection, namespace: str, **settings: Any) -> Iterator[Running]:
    """An operator that acts in one namespace from a thread, killed at the end of the block."""
    began, found, loops = threading.Event(), list[Running](), list[Callable[[], object]]()

    async def act() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loops.append(lambda: loop.call_soon_threadsafe(ended.set))
        async with acting(connection, namespace, **settings) as running:
            found.append(running)
            began.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(act()), name="operator")
    thread.start()
    try:
        assert began.wait(60), "the operator did not learn the cluster's state"
        yield found[0]
    finally:
        loops[0]()
        thread.join(60)


@pytest.fixture
def quick(fake_training: str) -> dict[str, Any]:
    """Settings of an operator that begins again at once."""
    return {"training_image": fake_training, "interruption_wait": 0.2}


@pytest.fixture
def operator(
    definitions: None, connection: Connection, namespace: str, quick: dict[str, Any]
) -> Iterator[Running]:
    """An operator of the test's own in its namespace."""
    with in_background(connection, namespace, **quick) as running:
        yield running
