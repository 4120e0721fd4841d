"""A real gateway process with its recorder, over scripted engines; its database read as an operator would."""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from integration import waiting
from integration.awaiting import until
from integration.gateway.clients import Reply, call
from integration.gateway.conftest import start_upstream as start_upstream  # A fixture.
from integration.gateway.processes import Process
from integration.gateway.states import State
from integration.gateway.upstreams import Upstream
from integration.servers import own_postgres as own_postgres
from integration.servers import postgres as postgres
from integration.servers import postgres_server as postgres_server
from slipway.gateway.storage.database import migrate, open_engine
from slipway.gateway.usage.tables import usage_records

Record = dict[str, Any]


@dataclass
class Place:
    """One state folder with its database, and the gateways that serve from it."""

    state: State
    url: str
    engine: Engine
    gateways: list[Process]

    def start(self, **settings: Any) -> Process:
        """A gateway process; wait for its `port()`."""
        gateway = Process(self.state.folder, database_url=self.url, poll_interval=0.05, **settings)
        self.gateways.append(gateway)
        return gateway

    def open(self) -> int:
        """A gateway process that can be asked about what is in its database; its port."""
        port = self.start().port()
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/v1/usage", headers={"x-api-key": "sk-boss"})

        def answers() -> bool:
            try:
                urllib.request.urlopen(asked, timeout=10).close()
            except urllib.error.HTTPError as error:
                error.close()
                return False
            return True

        waiting.until(answers, "the database's opening")
        return port

    def records(self) -> list[Record]:
        """All usage records, by their start."""
        with self.engine.begin() as connection:
            query = select(usage_records).order_by(usage_records.c.id)
            return [dict(row) for row in connection.execute(query).mappings()]

    def close(self) -> None:
        """Kill the gateways."""
        for gateway in self.gateways:
            if gateway.running:
                gateway.kill()
        self.engine.dispose()

    async def recorded(self, count: int) -> list[Record]:
        """Wait until there are at least so many records."""
        return list(
            await until(lambda: len(found := self.records()) >= count and found, f"{count} usage records")
        )

    async def journals_gone(self) -> None:
        """Wait until every journal of a gateway that ended is recorded and removed."""
        usage = self.state.folder / "usage"
        await until(lambda: not list(usage.iterdir()), "the journals' removal")


def make_place(
    folder: Path, addresses: Sequence[str] = (), url: str | None = None, key: dict[str, Any] | None = None
) -> Place:
    """A state folder over the engines given; `url` is its database."""
    state = State(folder)
    state.service("m", adapters=["m-sql"], pricing=PRICING)
    state.service("e", task="embed")
    state.key(**(key or {}))
    state.key("boss", "sk-boss", role="admin", owner="platform")
    state.endpoints(m=addresses, e=addresses)
    url = url or f"sqlite:///{state.folder / 'gateway.db'}"
    engine = open_engine(url, 5.0)
    migrate(engine)
    return Place(state, url, engine, [])


StartPlace = Callable[..., Place]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[StartPlace]:
    """Makes a state folder over the upstreams given; `url` is its database."""
    places: list[Place] = []

    def make(*upstreams: Upstream, url: str | None = None, key: dict[str, Any] | None = None) -> Place:
        addresses = [each.address for each in upstreams]
        places.append(make_place(tmp_path / f"state{len(places)}", addresses, url, key))
        return places[-1]

    yield make
    for each in places:
        each.close()


PRICING = {"inputPerMillion": "0.50", "cachedInputPerMillion": "0.10", "outputPerMillion": "1.5"}


async def ask(port: int, **body: Any) -> Reply:
    """One chat."""
    return await call(
        port, "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hi"}], **body}
    )
