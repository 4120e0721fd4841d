"""`slipway get -w` and others that follow: services and their pods as the API server has them, live."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import click

from slipway.cli.cluster.sessions import Session, sentence
from slipway.cli.cluster.states import service_views
from slipway.cli.screens import Screen
from slipway.cli.views import HEAD, ServiceView, changes, tree
from slipway.kube import Informer, Kind, Obj
from slipway.kube.errors import ForbiddenError, KubeError, NotFoundError, UnauthorizedError
from slipway.kube.kinds import LLM_SERVICE, POD
from slipway_operator import names

_LOOK = 1.0
"""Seconds between two drawings while nothing changes: ages grow."""
_SETTLE = 0.1
"""Seconds for which further changes are awaited before one is shown."""


class Following:
    """Services and pods, kept up to date; `fault` is why they may be old, if they may."""

    def __init__(self, session: Session) -> None:
        self.changed = asyncio.Event()
        self.fault = ""
        self.fatal: KubeError | None = None
        self._informers = {
            kind: Informer(
                session.client,
                kind,
                session.namespace,
                selector=selector,
                on_change=lambda old, new: self.changed.set(),
                on_fault=self._heard,
            )
            for kind, selector in ((LLM_SERVICE, None), (POD, names.CHILDREN))
        }

    def _heard(self, error: KubeError) -> None:
        if isinstance(error, ForbiddenError | NotFoundError | UnauthorizedError) and not self._all_synced:
            self.fatal = error
        self.fault = sentence(error)
        self.changed.set()

    @property
    def _all_synced(self) -> bool:
        return all(each.has_synced for each in self._informers.values())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow until the block ends; it is entered once everything has been listed. Raises KubeError."""
        tasks = [asyncio.create_task(each.run()) for each in self._informers.values()]
        try:
            told = ""
            while not self._all_synced:
                await self.wait(_LOOK)
                if self.fatal is not None:
                    raise self.fatal
                if self.fault != told:
                    told = self.fault
                    click.echo(f"{told} Trying on.", err=True)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def wait(self, seconds: float) -> None:
        """Return after a change, or after so many seconds."""
        try:
            # Not wait_for: before Python 3.12 it loses a Ctrl-C that comes together with a change.
            async with asyncio.timeout(seconds):
                await self.changed.wait()
        except TimeoutError:
            return
        self.changed.clear()

    def items(self, kind: Kind) -> list[Obj]:
        """The objects of a kind as last known."""
        return list(self._informers[kind].items.values())

    @property
    def stale(self) -> str:
        """Why what is shown may be old; "" while both watches are open."""
        open_ = all(each.stale_since is None for each in self._informers.values())
        return "" if open_ else self.fault

    def views(self, name: str | None = None) -> list[ServiceView]:
        services = [
            item
            for item in self._informers[LLM_SERVICE].items.values()
            if name is None or item["metadata"]["name"] == name
        ]
        return service_views(services, list(self._informers[POD].items.values()), time.time())


async def watch_services(session: Session, name: str | None) -> None:
    """Show services, revisions and pods until cancelled: a tree on a terminal, lines elsewhere."""
    following = Following(session)
    async with following.running():
        if sys.stdout.isatty():
            await _draw(following, name)
        else:
            await _tell(following, name)


async def _draw(following: Following, name: str | None) -> None:
    screen = Screen(sys.stdout)
    while True:
        stale = following.stale
        note = f"As last known. {stale}" if stale else ""
        screen.draw(HEAD, tree(following.views(name), datetime.now(UTC)), note)
        await following.wait(_LOOK)
        await asyncio.sleep(_SETTLE)


async def _tell(following: Following, name: str | None) -> None:
    shown: list[ServiceView] = []
    said = ""
    while True:
        views, stale = following.views(name), following.stale
        stamp = datetime.now(UTC).strftime("%H:%M:%S")
        for line in changes(shown, views):
            click.echo(f"{stamp}  {line}")
        shown = views
        if stale and not said:
            click.echo(f"{stamp}  {stale} What was shown last may be old; trying on.", err=True)
        elif said and not stale:
            click.echo(f"{stamp}  The API server answers again.", err=True)
        said = stale
        await following.wait(_LOOK)
        await asyncio.sleep(_SETTLE)
