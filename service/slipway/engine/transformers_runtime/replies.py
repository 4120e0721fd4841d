"""How answers go out: JSON, errors, event streams; and how the engine learns that a client left."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from slipway.engine.transformers_runtime.errors import RequestError, invalid

T = TypeVar("T")


class ClientLeftError(Exception):
    """Nobody waits for the answer any more."""


def as_json(document: Mapping[str, Any], status: int = 200, **headers: str) -> Response:
    """A JSON answer."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return Response(body, status, headers, media_type="application/json")


def refusal(error: RequestError) -> Response:
    """The answer to a request that is not answered."""
    more = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return as_json(error.document(), error.status, **more)


async def body_of(request: Request) -> Any:
    """The request's JSON. Raises RequestError where it is none."""
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError):
        raise invalid("The body is not valid JSON.") from None


async def unless_left(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client leaves. Raises ClientLeftError then."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeftError
        return working.result()
    finally:
        await _end(working, leaving)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Events(Response):
    """Server-sent events, each sent as soon as it is made."""

    def __init__(self, events: Callable[[], AsyncGenerator[bytes, None]], close: Callable[[], None]) -> None:
        """Send what `events` yields; `close` is called at the end, also of a stream that never began."""
        super().__init__(media_type="text/event-stream", headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._events = events
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_left(receive, self._send(send))
        except ClientLeftError:
            return
        finally:
            self._close()

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        async with aclosing(self._events()) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


Handler = Callable[[Request], Awaitable[Response]]


def endpoint(handler: Handler) -> Handler:
    """`handler` with its RequestErrors as answers."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except RequestError as error:
            return refusal(error)
        except ClientLeftError:
            return Response(status_code=499)  # Reaches nobody.

    return answer
