"""A scripted API server and a client of it."""

from collections.abc import AsyncIterator

import pytest

from integration.kube.apiserver import APIServer
from slipway.kube import Client
from slipway.kube.calls import CallLimits

QUICK = CallLimits(answer=5, attempts=3, first_wait=0.001, longest_wait=2)


@pytest.fixture
async def server() -> AsyncIterator[APIServer]:
    server = APIServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server: APIServer) -> AsyncIterator[Client]:
    async with Client(server.connection, manager="tester", limits=QUICK) as client:
        yield client
