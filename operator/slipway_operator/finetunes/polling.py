"""Asks running stages how far they are, as measuring.py asks engines for their load."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from slipway.kube.kinds import FINE_TUNE
from slipway_operator.finetunes.attempts import address
from slipway_operator.finetunes.pods import PROGRESS
from slipway_operator.measuring import address_of
from slipway_operator.settings import OperatorSettings
from slipway_operator.worlds import Key, World

_MOST = 64 << 10
"""Bytes of one answer that are read."""


@dataclass(slots=True)
class Polling:
    """Holds what each FineTune's running stage told last."""

    settings: OperatorSettings
    world: World
    tell: Callable[[Key], None]
    """A stage is further than it was."""
    _running: dict[Key, tuple[str, int]] = field(default_factory=dict)
    """Stage and attempt."""
    _told: dict[Key, Mapping[str, Any]] = field(default_factory=dict)
    _session: aiohttp.ClientSession | None = None

    def watch(self, key: Key, status: Mapping[str, Any]) -> None:
        """Ask the stage that runs by the FineTune's status; nobody, if none does."""
        running = next(
            (
                (each["name"], each["attempts"])
                for each in status.get("stages") or ()
                if each["state"] == "Running" and each["name"] != "deploy" and each.get("attempts")
            ),
            None,
        )
        if running != self._running.get(key):
            self._told.pop(key, None)
        if running is None:
            self._running.pop(key, None)
        else:
            self._running[key] = running

    def forget(self, key: Key) -> None:
        """The FineTune is gone."""
        self._running.pop(key, None)
        self._told.pop(key, None)

    def of(self, key: Key) -> Mapping[str, Any] | None:
        """What its stage told last; None where it has told nothing."""
        return self._told.get(key)

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                await asyncio.gather(*(self._ask(key, *running) for key, running in self._running.items()))
                await asyncio.sleep(self.settings.progress_interval)
        finally:
            if self._session is not None:
                await self._session.close()
                self._session = None

    async def _ask(self, key: Key, stage: str, attempt: int) -> None:
        host = address(self.world.children(FINE_TUNE, key), stage, attempt)
        if host is None:
            return
        told = await self._get(f"http://{address_of(host, PROGRESS)}/progress")
        # The process of a stage may still show what the one before it did.
        if told is None or told.get("stage") != stage or self._running.get(key) != (stage, attempt):
            return
        if told != self._told.get(key):
            self._told[key] = told
            self.tell(key)

    async def _get(self, url: str) -> dict[str, Any] | None:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self.settings.scrape_timeout)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=64))
        try:
            async with self._session.get(url) as answer:
                if answer.status != 200 or (answer.content_length or 0) > _MOST:
                    return None
                told = await answer.json(content_type=None)
                return told if isinstance(told, dict) else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None
