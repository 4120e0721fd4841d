"""Metrics and health of the operator, over HTTP: /metrics, /livez, /readyz."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from slipway_operator.metrics import Metrics


@dataclass(slots=True)
class Server:
    """Serves until it is stopped."""

    metrics: Metrics
    refresh: Callable[[], None]
    """Brings gauges up to date before they are read."""
    why_not_ready: Callable[[], str]
    """A sentence, or "" if it is."""
    why_not_alive: Callable[[], str]
    _runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port. Raises OSError."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        found: int = self._runner.addresses[0][1]
        return found

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        self.refresh()
        content = {"content-type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self.metrics.text(), headers=content)

    async def _livez(self, _: web.Request) -> web.Response:
        return _said(self.why_not_alive())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _said(self.why_not_ready())


def _said(problem: str) -> web.Response:
    return web.Response(status=503 if problem else 200, text=problem or "ok")
