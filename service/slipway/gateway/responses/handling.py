"""Serves `/v1/responses`: state around a chat completion, made at once or in the background.

A response is in the database before an engine is asked, so that one which cannot be kept costs no work, and
its end is kept before it is told, so that whoever has seen it can go on from it. While it is made, a lease
says which gateway works on it; a response whose gateway is gone is ended by any other.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from slipway.gateway.answering import EVENTS, STREAM
from slipway.gateway.auth import Key
from slipway.gateway.chat.checking import checked
from slipway.gateway.chat.counting import TokenCount
from slipway.gateway.chat.ids import new_id
from slipway.gateway.chat.translating import TranslatingSink
from slipway.gateway.errors import JSON, APIError, invalid_request
from slipway.gateway.exchanges import Exchange
from slipway.gateway.faults import said_in
from slipway.gateway.relay.relay import ClientGoneError
from slipway.gateway.responses import asking, store
from slipway.gateway.responses.answers import Response, ResponseTranslation, begun, failed
from slipway.gateway.responses.background import Outcome, follow, refusal
from slipway.gateway.responses.items import Item, normal
from slipway.gateway.responses.store import Bounds
from slipway.gateway.serving import Body, Serving
from slipway.gateway.storage.database import Database

LEASE = 30.0
"""Seconds after which a response whose gateway has said nothing is ended by another."""
LOOK = 1.0
"""Seconds between two looks at whether responses in the background are still wanted."""
SWEEP = 10.0
"""Seconds between two looks for responses that were left behind or have expired."""
EVENTS_KEPT = 3600.0
"""Seconds after its begin that the events of a response which has ended can be followed again."""
_ENDED_BY_GATEWAY = "The gateway that made this response has ended. Ask again."
_CODES = {429: "rate_limit_exceeded", 400: "invalid_prompt", 413: "invalid_prompt"}


@dataclass(slots=True)
class Making:
    """One response that is being made, and what is known of it beside its exchange."""

    translation: ResponseTranslation
    items: list[Item]
    key: Key
    stream: bool = False
    """Others may follow its events."""
    kept: bool = False
    """It is in the database."""
    ended: bool = False
    """Its end is, too."""


@dataclass(slots=True)
class Responses:
    """Makes responses, and looks after those in the background."""

    serving: Serving
    database: Database
    gateway: str
    """This gateway's name in leases."""
    keep_for: float
    """Seconds that responses are kept."""
    wall: Callable[[], float]
    _background: dict[str, Outcome] = field(default_factory=dict)
    _leased: int = 0
    """Stored responses that are being made while their client waits."""
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def create(self, exchange: Exchange, body: Body) -> None:
        """The handler of POST /v1/responses."""
        asked = checked(exchange.route, body)
        stored, background = asked.get("store", True), asked.get("background", False)
        if background and not stored:
            raise invalid_request("`background` needs `store: true`.", "background")
        key = _key(exchange)
        items = normal(asked["input"])
        before = await self._before(asked, key)
        most = self.serving.most_tokens(asked["model"])
        chat = asking.chat(asked, [*before, *items], most, self.bounds.links)
        response = begun(new_id("resp"), asked, "queued" if background else "in_progress", self.wall())
        translation = ResponseTranslation(response, _keep_nothing, self.wall)
        making = Making(translation, items, key, stream=background and asked.get("stream", False))
        if stored:
            translation.keep = lambda ended: self._keep(making, ended)
        if background:
            await self._begin(exchange, making, chat)
        else:
            await self._make(exchange, making, chat, stored=stored)

    async def count(self, exchange: Exchange, body: Body) -> None:
        """The handler of POST /v1/responses/input_tokens."""
        asked = checked(exchange.route, body)
        before = await self._before(asked, _key(exchange))
        counting = asking.counting(asked, [*before, *normal(asked["input"])], self.bounds.links)
        translation = TokenCount(object="response.input_tokens")
        exchange.sink = TranslatingSink(exchange.sink, translation, exchange.route.dialect.error)
        await self.serving.answer(exchange, counting)

    async def run(self) -> None:
        """Look after what is under way and what was left behind, as long as the gateway runs."""
        swept = -SWEEP
        try:
            while True:
                try:
                    await self._look()
                    if time.monotonic() - swept >= SWEEP:
                        swept = time.monotonic()
                        await self._sweep()
                except APIError:
                    pass  # The database is away: the next look will tell.
                await asyncio.sleep(LOOK)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def bounds(self) -> Bounds:
        """How long a conversation may be: as long as one in a single request."""
        return Bounds(self.serving.settings.max_messages, self.serving.settings.max_body)

    def unwanted(self, response: str) -> None:
        """A response was cancelled or deleted: if this gateway makes it, that ends now."""
        sink = self._background.get(response)
        if sink is not None:
            sink.leave()

    # --- at once ----------------------------------------------------------------------------------

    async def _make(self, exchange: Exchange, making: Making, chat: Body, *, stored: bool) -> None:
        exchange.sink = TranslatingSink(exchange.sink, making.translation, exchange.route.dialect.error)
        left = False
        self._leased += stored
        try:
            await self.serving.answer(exchange, chat, (lambda: self._admit(making)) if stored else None)
        except ClientGoneError:
            left = True
            raise
        finally:
            self._leased -= stored
            if making.kept and not making.ended:
                await self._settle(making, exchange, left=left)

    async def _admit(self, making: Making) -> None:
        """Limits have let the response through: keep it, or refuse it."""
        now_us = self._now_us()
        response = making.translation.response
        await self.database.run(
            lambda connection: store.begin(
                connection,
                response=response,
                items=making.items,
                owner=making.key.owner,
                key=making.key.name,
                gateway=self.gateway,
                stream=making.stream,
                now_us=now_us,
                expires_us=now_us + int(self.keep_for * 1e6),
                lease_until_us=now_us + int(LEASE * 1e6),
            )
        )
        making.kept = True

    async def _keep(self, making: Making, response: Response) -> None:
        kept = await self.database.run(lambda connection: store.end(connection, response))
        making.ended = True
        if not kept:
            self.unwanted(response["id"])  # It was cancelled or deleted just before.

    async def _settle(self, making: Making, exchange: Exchange, *, left: bool) -> None:
        """Tell the database of an end that was none of an answer."""
        response = making.translation.response
        if not exchange.begun and not left:
            await self._try(
                lambda: self.database.run(lambda connection: store.forget(connection, response["id"]))
            )
        elif left:
            await self._try(lambda: self._keep(making, {**response, "status": "cancelled"}))
        elif response["status"] == "failed":
            await self._try(lambda: self._keep(making, response))
        else:
            await self._try(
                lambda: self._keep(making, failed(response, "server_error", "The answer was cut off."))
            )

    @staticmethod
    async def _try(work: Callable[[], Awaitable[None]]) -> None:
        with suppress(APIError):  # While the database is away; the sweep ends it when the lease is over.
            await work()

    # --- in the background ------------------------------------------------------------------------

    async def _begin(self, exchange: Exchange, making: Making, chat: Body) -> None:
        response = making.translation.response
        queued = orjson.dumps(response)
        # So that an answer may take longer than an engine's first byte, and what there is of it is kept.
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
        admitted = asyncio.get_running_loop().create_future()
        name = response["id"]
        sink = Outcome(
            (lambda told: self.database.run(lambda connection: store.record(connection, name, told)))
            if making.stream
            else None
        )
        task = asyncio.create_task(self._in_background(exchange, making, chat, sink, admitted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait((task, admitted), return_when=asyncio.FIRST_COMPLETED)
        if not admitted.done():
            raise refusal(sink)
        exchange.model, exchange.status, exchange.begun = chat["model"], 200, True
        self.serving.accounts.close(exchange)
        if making.stream:
            await self._follow(exchange, making)
            return
        length = (b"content-length", b"%d" % len(queued))
        await exchange.sink.begin(200, [JSON, length, (b"x-request-id", exchange.head.request_id)])
        await exchange.sink.write(queued, more=False)

    async def _follow(self, exchange: Exchange, making: Making) -> None:
        """Pass the events on; a client that leaves ends that and not the response."""
        exchange.stream = True
        left = asyncio.Event()
        exchange.sink.on_leave(left.set)
        identity = (b"x-request-id", exchange.head.request_id)
        await exchange.sink.begin(200, [(b"content-type", EVENTS), identity, *STREAM])
        name = making.translation.response["id"]
        async for told in follow(self.database, name, making.key.owner, -1):
            if left.is_set():
                raise ClientGoneError
            await exchange.sink.write(told, more=True)
        await exchange.sink.write(b"", more=False)

    async def _in_background(
        self,
        asked_by: Exchange,
        making: Making,
        chat: Body,
        sink: Outcome,
        admitted: "asyncio.Future[None]",
    ) -> None:
        response = making.translation.response
        outlet = TranslatingSink(sink, making.translation, asked_by.route.dialect.error)
        exchange = Exchange(asked_by.route, asked_by.head, outlet, self.serving.clock())
        exchange.key, exchange.priority = making.key, asked_by.priority
        self._background[response["id"]] = sink

        async def admit() -> None:
            response["status"] = "in_progress"
            await self._admit(making)
            admitted.set_result(None)

        try:
            await self.serving.carry_out(exchange, lambda: self.serving.answer(exchange, chat, admit))
        finally:
            del self._background[response["id"]]
            if making.kept and not making.ended:
                await self._try(lambda: self._keep(making, _ended(response, sink)))

    async def _look(self) -> None:
        ids = list(self._background)
        if not ids and not self._leased:
            return
        until_us = self._now_us() + int(LEASE * 1e6)

        def look(connection: Any) -> set[str]:
            store.renew(connection, self.gateway, until_us)
            return store.still_wanted(connection, ids) if ids else set()

        wanted = await self.database.run(look)
        for each in ids:
            if each not in wanted:
                self.unwanted(each)

    async def _sweep(self) -> None:
        now_us = self._now_us()

        def sweep(connection: Any) -> int:
            for response in store.abandoned(connection, now_us):
                store.end(connection, failed(response, "server_error", _ENDED_BY_GATEWAY))
            store.forget_events(connection, now_us - int(EVENTS_KEPT * 1e6))
            return store.expire(connection, now_us)

        while await self.database.run(sweep) == store.BATCH:
            pass

    # --- what a request goes on from --------------------------------------------------------------

    async def _before(self, asked: Body, key: Key) -> list[Item]:
        previous = asked.get("previous_response_id")
        if previous is None:
            return []
        expires_us = self._now_us() + int(self.keep_for * 1e6)
        return await self.database.run(
            lambda connection: store.chain(
                connection, previous, key.owner, self.bounds, expires_us, "previous_response_id"
            )
        )

    def _now_us(self) -> int:
        return int(self.wall() * 1e6)


async def _keep_nothing(response: Response) -> None:
    """With `store: false` nothing is kept."""


def _key(exchange: Exchange) -> Key:
    assert exchange.key is not None  # noqa: S101 - for the type checker; serving has identified it
    return exchange.key


def _ended(response: Response, sink: Outcome) -> Response:
    """How a response in the background ended that was not completed."""
    if sink.left:
        return {**response, "status": "cancelled"}
    said, _ = said_in(sink.body) if sink.status != 200 else (None, None)
    if sink.cut_off or not isinstance(said, str):
        return failed(response, "server_error", _ENDED_BY_GATEWAY)
    return failed(response, _CODES.get(sink.status, "server_error"), said)
