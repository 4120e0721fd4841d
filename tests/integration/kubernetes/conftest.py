"""A gateway over a scripted API server."""

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from integration.gateway.conftest import Running, Start, start, start_upstream
from integration.kube.apiserver import APIServer
from integration.kube.conftest import server
from integration.kubernetes.world import World

__all__ = ["server", "start", "start_upstream"]

StartGateway = Callable[..., Coroutine[Any, Any, Running]]


@pytest.fixture
def world(server: APIServer) -> World:
    return World(server)


@pytest.fixture
def start_gateway(
    start: Start, server: APIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> StartGateway:
    """Starts a gateway whose kubeconfig leads to the scripted API server, with settings as keywords."""
    kubeconfig = tmp_path / "kubeconfig"
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": server.connection.server}}],
    }
    kubeconfig.write_text(json.dumps(document))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))

    async def start_gateway(**settings: Any) -> Running:
        return await start(source="kubernetes", **settings)

    return start_gateway
