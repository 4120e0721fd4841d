"""An API server that fails, forgets, repeats itself and cuts off, in front of a real one."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from slipway.kube.config import Connection

READS = ("500", "429", "cut")
LISTS = (*READS, "410 list", "stale list")
WRITES = ("500", "429", "cut", "409", "answer lost")
WATCHES = ("410 watch", "410 in a watch", "dropped watch", "torn event", "empty watch")
FAULTS = frozenset((*LISTS, *WRITES, *WATCHES))
_REASONS = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError"}


def status(code: int) -> dict[str, object]:
    """A failure as the API server words it."""
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": _REASONS[code], "message": "a test lies",
    }  # fmt: skip


@dataclass
class LyingProxy:
    """Passes calls on to `upstream`, a share of them wrongly; which ones, `seed` decides."""

    upstream: Connection
    seed: int
    share: float
    """Of the calls that go wrong, from 0 to 1."""
    told: Counter[str] = field(default_factory=Counter)
    """How often which fault was made."""
    writes: Counter[str] = field(default_factory=Counter)
    """Writes that reached the API server, by method and path."""
    _lists: dict[str, bytes] = field(default_factory=dict)
    """The first answer to each list."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Connection]:
        """How the proxy is reached."""
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        limits = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=limits, auto_decompress=False) as self._session:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            try:
                yield Connection(f"http://127.0.0.1:{runner.addresses[0][1]}")
            finally:
                await runner.cleanup()

    def _fault(self, possible: tuple[str, ...]) -> str:
        """What goes wrong with this call: the rarest so far, or "" for nothing."""
        if self._random.random() >= self.share:
            return ""
        rarest = min(self.told[fault] for fault in possible)
        return self._random.choice([fault for fault in possible if self.told[fault] == rarest])

    @asynccontextmanager
    async def _asked(self, request: web.Request) -> AsyncIterator[aiohttp.ClientResponse]:
        credential = await self.upstream.credentials.current()
        headers = {"content-type": request.content_type, "accept": "application/json"}
        if credential.token:
            headers["authorization"] = f"Bearer {credential.token}"
        async with self._session.request(
            request.method,
            self.upstream.server + str(request.rel_url),
            data=await request.read(),
            headers=headers,
            ssl=self.upstream.tls(credential) or True,
        ) as answer:
            yield answer

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self._watch(request)
        written = request.method != "GET"
        listed = not written and request.path.rpartition("/")[2].endswith("s") and "/" in request.path[1:]
        place = str(request.rel_url)
        fault = self._fault(WRITES if written else LISTS if place in self._lists else READS)
        if fault in ("500", "429", "409", "410 list"):
            self.told[fault] += 1
            code = int(fault.partition(" ")[0])
            headers = {"retry-after": "1"} if code == 429 else {}
            return web.json_response(status(code), status=code, headers=headers)
        if fault == "cut":
            self.told[fault] += 1
            return _cut(request)
        if fault == "stale list":
            self.told[fault] += 1
            return web.Response(body=self._lists[place], content_type="application/json")
        async with self._asked(request) as answer:
            body, code = await answer.read(), answer.status
        if written:
            self.writes[f"{request.method} {request.path}"] += 1
        if listed and code == 200 and b'List"' in body[:200]:
            self._lists.setdefault(place, body)
        if fault == "answer lost":
            self.told[fault] += 1
            return _cut(request)
        return web.Response(body=body, status=code, content_type="application/json")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        fault = self._fault(WATCHES)
        if fault:
            self.told[fault] += 1
        if fault == "410 watch":
            return web.json_response(status(410), status=410)
        answer = web.StreamResponse(headers={"content-type": "application/json"})
        await answer.prepare(request)
        if fault == "empty watch":
            return answer
        left = self._random.randint(1, 4)
        async with self._asked(request) as passed:
            # Events take the time they take: a fault that waits for the fourth may come after a minute.
            async for line in passed.content:
                left -= bool(fault)
                if left > 0 or not fault:
                    await answer.write(line)
                elif fault == "410 in a watch":
                    await answer.write(json.dumps({"type": "ERROR", "object": status(410)}).encode() + b"\n")
                    return answer
                else:
                    if fault == "torn event":
                        await answer.write(line[: len(line) // 2])
                    _cut(request)
                    return answer
        return answer


def _cut(request: web.Request) -> web.StreamResponse:
    """End the connection in the middle of whatever it was."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def quiet(proxy: LyingProxy, seconds: float) -> None:
    """Return once nothing was written for `seconds`."""
    while True:
        before = proxy.writes.total()
        await asyncio.sleep(seconds)
        if proxy.writes.total() == before:
            return
