"""When to read which metrics, and whom to tell of them."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from slipway.kube.kinds import ENDPOINT_SLICE, LLM_SERVICE, POD
from slipway.objects import LLMService
from slipway_operator import names
from slipway_operator.plans import Measured
from slipway_operator.pod_states import is_ready
from slipway_operator.pods import PORT
from slipway_operator.settings import OperatorSettings
from slipway_operator.signals import Scraper, Sums, engine_load, measured, summed
from slipway_operator.worlds import Key, World

_IDLE_TICKS = 5
"""A service that nobody asks is decided on each so many readings only."""


@dataclass(slots=True)
class _Watched:
    autoscaled: bool
    under_way: bool
    """A rollout is, and judges by what is measured."""
    last: tuple[float, float, float | None] = (0.0, 0.0, None)
    quiet: int = 0


@dataclass(slots=True)
class Measuring:
    """Holds the last reading."""

    settings: OperatorSettings
    world: World
    engine_key: Callable[[], str]
    tell: Callable[[Key], None]
    """Something was measured that the service's next plan may depend on."""
    scraper: Scraper = field(init=False)
    expected: int = 0
    """Gateways there are."""
    answered: int = 0
    _sums: dict[Key, Sums] = field(default_factory=dict)
    _measured: dict[Key, Measured] = field(default_factory=dict)
    _watched: dict[Key, _Watched] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scraper = Scraper(self.settings.scrape_timeout, self.engine_key)

    def watch(self, key: Key, service: LLMService, *, under_way: bool) -> None:
        """Read what `service` needs: nothing, if it neither scales by load nor is being rolled out."""
        autoscaled = service.spec.autoscaling is not None
        if not autoscaled and not under_way:
            self.forget(key)
            return
        watched = self._watched.setdefault(key, _Watched(autoscaled, under_way))
        watched.autoscaled, watched.under_way = autoscaled, under_way

    def forget(self, key: Key) -> None:
        """Nobody wants to know any more."""
        self._watched.pop(key, None)
        self._measured.pop(key, None)

    def of(self, key: Key) -> Measured:
        """What was read of a service last."""
        return self._measured.get(key, Measured())

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            while True:
                if self._watched:
                    await self._read()
                await asyncio.sleep(self.settings.scrape_interval)
        finally:
            await self.scraper.close()

    async def _read(self) -> None:
        gateways = sorted(self._gateways())
        answers = await self.scraper.read(gateways)
        self.expected, self.answered = len(gateways), len(answers)
        self._sums = summed(answers)
        for key, watched in list(self._watched.items()):
            found = measured(self._sums, key, self.expected, self.answered)
            if watched.autoscaled:
                found = await self._with_engines(key, found)
            self._measured[key] = found
            if self._matters(watched, found):
                self.tell(key)

    async def _with_engines(self, key: Key, found: Measured) -> Measured:
        engines = sorted(self._engines(key))
        load = engine_load(await self.scraper.read(engines, engines=True), len(engines))
        return Measured(found.gateways, load, found.requests, found.revisions)

    @staticmethod
    def _matters(watched: _Watched, found: Measured) -> bool:
        gateways = found.gateways
        now = (
            gateways.in_flight if gateways is not None else -1.0,
            gateways.waiting if gateways is not None else -1.0,
            found.requests,
        )
        engines = found.engines.in_flight if found.engines is not None else 0.0
        busy = now != watched.last or now[0] + now[1] > 0 or engines > 0
        watched.last = now
        watched.quiet = 0 if busy else watched.quiet + 1
        return busy or watched.under_way or watched.quiet % _IDLE_TICKS == 0

    def _gateways(self) -> Iterable[str]:
        for each in self.world.all(ENDPOINT_SLICE):
            ports = [
                port["port"] for port in each.get("ports") or () if port.get("name") in ("http", "", None)
            ]
            for endpoint in each.get("endpoints") or ():
                if ports and endpoint.get("conditions", {}).get("ready", True):
                    yield from (address_of(host, ports[0]) for host in endpoint["addresses"][:1])

    def _engines(self, key: Key) -> Iterable[str]:
        for (kind, _), pod in self.world.children(LLM_SERVICE, key).items():
            if kind == POD and names.REVISION in pod["metadata"].get("labels", {}) and is_ready(pod):
                yield address_of(pod["status"]["podIP"], PORT)


def address_of(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
