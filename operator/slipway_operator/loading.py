"""Gives adapters to running engines, and takes them away, through the engines' own API and with their key.

Level-based: each engine is asked what it has, told what it lacks, and rid of what is not wanted any more; one
that began anew is another engine. What somebody else has loaded is left alone.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from slipway.kube.kinds import LLM_SERVICE, POD
from slipway_operator import names
from slipway_operator.adapters import Engines
from slipway_operator.measuring import address_of
from slipway_operator.pod_states import is_ready
from slipway_operator.pods import PORT
from slipway_operator.settings import OperatorSettings
from slipway_operator.worlds import Key, Object, World

_LOOK, _LOAD = 5.0, 300.0
"""Seconds that an engine may take to tell what it has, and to fetch and load an adapter."""
_AGAIN, _CALM = 10.0, 30.0
"""Seconds until an adapter that could not be loaded is tried again, and until an engine is asked again that
has all it should."""
_MOST = 1 << 20
"""Bytes of one answer that are read."""
_REFUSALS = (400, 404, 422, 500)
"""What an engine answers to an adapter that it will never take: of too high a rank, for another model."""


@dataclass(slots=True)
class _Engine:
    """One engine, from its start to its end."""

    address: str
    has: frozenset[str] | None = None
    """Names of the adapters that it serves; None before it was asked."""
    refused: dict[str, str] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    looked_at: float = float("-inf")
    busy: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Service:
    wanted: Mapping[str, str] = field(default_factory=dict)
    ours: set[str] = field(default_factory=set)
    """Names that this operator, or one before it, has had loaded."""
    engines: dict[tuple[str, int], _Engine] = field(default_factory=dict)


@dataclass(slots=True)
class Loading:
    """Looks after the adapters of all services that have some."""

    settings: OperatorSettings
    world: World
    engine_key: Callable[[], str]
    tell: Callable[[Key], None]
    """An engine has something that it had not."""
    may_act: Callable[[], bool] = lambda: True
    clock: Callable[[], float] = time.monotonic
    _services: dict[Key, _Service] = field(default_factory=dict)
    _session: aiohttp.ClientSession | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def want(self, key: Key, wanted: Mapping[str, str], known: Sequence[str], *, offered: bool) -> None:
        """Have every ready engine of a service serve `wanted` (name -> source).

        `known` are the names that its status has held: those that are not wanted go. Where something is
        `offered`, engines are asked what they have, as that decides what will be wanted.
        """
        if not wanted and not known and not offered and self._rid(key):
            self.forget(key)
            return
        service = self._services.setdefault(key, _Service())
        service.ours |= {*wanted, *known}
        if service.wanted != wanted:
            service.wanted = dict(wanted)
            for engine in service.engines.values():
                engine.looked_at = float("-inf")
        self._wake.set()

    def _rid(self, key: Key) -> bool:
        """Whether no engine has anything of ours any more."""
        service = self._services.get(key)
        if service is None:
            return True
        return not any((engine.has or frozenset()) & service.ours for engine in service.engines.values())

    def forget(self, key: Key) -> None:
        """The service is gone, and its engines with it."""
        self._services.pop(key, None)

    def of(self, key: Key) -> Engines | None:
        """What the ready engines have; None before they were asked."""
        pods = self._pods(key)
        service = self._services.get(key)
        engines = [service.engines.get(each) for each in pods] if service is not None else []
        asked = [each for each in engines if each is not None and each.has is not None]
        if pods and not asked:
            return None
        loaded: dict[str, int] = {}
        for each in asked:
            for name in each.has or ():
                loaded[name] = loaded.get(name, 0) + 1
        first = asked[0].refused if asked else {}
        refused = {name: text for name, text in first.items() if all(name in each.refused for each in asked)}
        failing = {name: text for each in asked for name, text in each.failing.items()}
        return Engines(len(asked), loaded, refused, failing)

    async def run(self) -> None:
        """Look after them until cancelled."""
        try:
            while True:
                self._wake.clear()
                for key, service in list(self._services.items()):
                    self._look_after(key, service)
                try:
                    async with asyncio.timeout(self.settings.adapter_interval if self._services else None):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            tasks = [
                engine.busy
                for service in self._services.values()
                for engine in service.engines.values()
                if engine.busy is not None
            ]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._session is not None:
                await self._session.close()
                self._session = None

    def _look_after(self, key: Key, service: _Service) -> None:
        pods = self._pods(key)
        for gone in service.engines.keys() - pods.keys():
            engine = service.engines.pop(gone)
            if engine.busy is not None:
                engine.busy.cancel()
        for identity, pod in pods.items():
            address = address_of(pod["status"]["podIP"], PORT)
            engine = service.engines.setdefault(identity, _Engine(address))
            idle = engine.busy is None or engine.busy.done()
            if idle and self.clock() - engine.looked_at >= self._pause(service, engine):
                engine.looked_at = self.clock()
                engine.busy = asyncio.create_task(self._settle(key, service, engine))

    @staticmethod
    def _pause(service: _Service, engine: _Engine) -> float:
        if engine.has is None:
            return 0.0 if engine.looked_at == float("-inf") else 1.0
        return _AGAIN if engine.failing else _CALM

    def _pods(self, key: Key) -> dict[tuple[str, int], Object]:
        """The ready engines by what tells one start from another."""
        found = {}
        for (kind, _), pod in self.world.children(LLM_SERVICE, key).items():
            labels = pod["metadata"].get("labels", {})
            if kind != POD or names.REVISION not in labels or not is_ready(pod):
                continue
            if pod["metadata"].get("deletionTimestamp"):
                continue
            restarts = sum(
                each.get("restartCount", 0) for each in pod["status"].get("containerStatuses") or ()
            )
            found[pod["metadata"]["uid"], restarts] = pod
        return found

    async def _settle(self, key: Key, service: _Service, engine: _Engine) -> None:
        """Have one engine serve what is wanted, and nothing of ours beside that."""
        before = (engine.has, dict(engine.refused), dict(engine.failing))
        try:
            has = await self._has(engine)
            if has is None:
                return
            wanted = dict(service.wanted)
            engine.has = has
            engine.refused = {name: text for name, text in engine.refused.items() if name in wanted}
            engine.failing = {}
            for name in sorted((has & service.ours) - wanted.keys()):
                if self.may_act() and await self._unload(engine, name):
                    engine.has -= {name}
            for name, source in sorted(wanted.items()):
                if name not in has and name not in engine.refused and self.may_act():
                    await self._load(engine, name, source)
            if wanted != service.wanted:
                engine.looked_at = float("-inf")
                self._wake.set()
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass  # It is asked again; one that is gone is no engine any more.
        finally:
            if before != (engine.has, engine.refused, engine.failing):
                self.tell(key)

    async def _has(self, engine: _Engine) -> frozenset[str] | None:
        status, body = await self._call("GET", engine, "/v1/models", None, _LOOK)
        if status != 200 or not isinstance(body, dict):
            return None
        return frozenset(str(each["id"]) for each in body.get("data") or () if each.get("parent"))

    async def _load(self, engine: _Engine, name: str, source: str) -> None:
        try:
            body = {"lora_name": name, "lora_path": source}
            status, answer = await self._call("POST", engine, "/v1/load_lora_adapter", body, _LOAD)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            engine.failing[name] = f"Its engine does not answer ({type(error).__name__})."
            return
        if status == 200:
            engine.has = (engine.has or frozenset()) | {name}
        elif status in _REFUSALS and name not in (await self._has(engine) or ()):
            engine.refused[name] = _message(answer, status)
        elif status not in _REFUSALS:
            engine.failing[name] = _message(answer, status)

    async def _unload(self, engine: _Engine, name: str) -> bool:
        status, _ = await self._call("POST", engine, "/v1/unload_lora_adapter", {"lora_name": name}, _LOOK)
        return status in (200, 404)

    async def _call(
        self, method: str, engine: _Engine, path: str, body: Mapping[str, Any] | None, seconds: float
    ) -> tuple[int, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64))
        headers = {"authorization": f"Bearer {key}"} if (key := self.engine_key()) else {}
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with self._session.request(
            method, f"http://{engine.address}{path}", json=body, headers=headers, timeout=timeout
        ) as answer:
            return answer.status, _parsed(await answer.content.read(_MOST))


def _parsed(body: bytes) -> Any:
    """The answer as JSON, or else as text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _message(answer: Any, status: int) -> str:
    """What an engine said of an adapter that it did not take."""
    if isinstance(answer, dict):
        error = answer.get("error")
        said = error.get("message") if isinstance(error, dict) else answer.get("message")
        if said:
            return str(said)[:500]
    return f"The engine answered {status}."
