"""An engine's answer on its way to the sink: whole events or plain JSON, usage found, faults told honestly.

Accounts are closed when the engine's answer is complete and before its last bytes are passed on: whoever
sees the end of an answer can rely on its usage being recorded and its place in the limits being free.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from slipway.gateway import faults
from slipway.gateway.accounts import Accounts
from slipway.gateway.dialects import StreamReader
from slipway.gateway.errors import APIError, Headers
from slipway.gateway.exchanges import Exchange
from slipway.gateway.logs import JSONLog
from slipway.gateway.relay.constraints import UnsatisfiableError, ended_alone
from slipway.gateway.relay.relay import Answer
from slipway.gateway.relay.transport import BadAnswerError, TruncatedError, UpstreamError
from slipway.gateway.sinks import ClientSink

_LARGEST_ERROR = 65_536
"""Bytes of an engine's error that are read."""
STREAM: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
EVENTS = b"text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answering:
    """Passes answers on."""

    accounts: Accounts
    log: JSONLog
    clock: Callable[[], float]

    async def pass_on(self, exchange: Exchange, answer: Answer, *, strip_usage: bool) -> None:
        """Pass the whole answer on. Raises APIError before it has begun, ClientGoneError at any time."""
        if answer.status != 200:
            raise await self._engines_error(exchange, answer)
        kind = answer.header(b"content-type") or b""
        if kind.startswith(b"text/event-stream"):
            await self._stream(exchange, answer, strip_usage=strip_usage)
        elif kind.startswith(b"application/json"):
            await self._plain(exchange, answer)
        else:
            self.accounts.fault(exchange, BadAnswerError("neither JSON nor events"))
            raise faults.of(BadAnswerError())

    async def _plain(self, exchange: Exchange, answer: Answer) -> None:
        finder, sink = exchange.route.asked.dialect.finder(), exchange.sink
        try:
            data = await answer.read()
            if not data:
                raise BadAnswerError("an answer without a body")
        except UpstreamError as error:
            self.accounts.fault(exchange, error)
            raise faults.of(error) from None
        length = answer.header(b"content-length")
        await self._begin(exchange, b"application/json", [(b"content-length", length)] if length else [])
        while data:
            finder.feed(data)
            try:
                following = await answer.read()
            except UpstreamError as error:
                self.accounts.fault(exchange, error)
                exchange.error = faults.of(error).code
                sink.cut()
                return
            if not following:
                exchange.usage = finder.find()
                self.accounts.close(exchange)
            await sink.write(data, more=bool(following))
            data = following

    async def _stream(self, exchange: Exchange, answer: Answer, *, strip_usage: bool) -> None:
        dialect, sink = exchange.route.asked.dialect, exchange.sink
        events = dialect.reader(strip_usage)
        try:
            while data := await answer.read():
                passed = self._follow(exchange, events, data)
                if passed:
                    if not exchange.begun:
                        await self._begin(exchange, EVENTS, STREAM)
                    await sink.write(passed, more=True)
                if exchange.begun and isinstance(sink, ClientSink) and not (events.done or events.failed):
                    await answer.hand_on(partial(self._hand_on, exchange, events, sink))
                if events.failed:
                    if exchange.constraint is not None and ended_alone(events.error):
                        raise UnsatisfiableError(exchange.constraint)
                    raise BadAnswerError("the engine reported an error in its stream")
            if not events.done:
                raise TruncatedError("the stream ended without its closing event")
        except UpstreamError as error:
            self.accounts.fault(exchange, error)
            if not events.done:
                told = faults.of(error)
                if not exchange.begun:
                    raise told from None
                exchange.error = told.code
                await sink.write(dialect.error_event(told), more=False)
                return
        await sink.write(b"", more=False)

    def _follow(self, exchange: Exchange, events: StreamReader, data: bytes) -> bytes:
        """Take the next bytes of a stream; those for the client. Accounts are closed at its end."""
        passed = events.feed(data)
        exchange.usage = events.usage
        exchange.events += passed.count(b"\n\n")
        if passed and exchange.first_byte is None:
            exchange.first_byte = self.clock()
        if events.done:
            exchange.status = 200
            self.accounts.close(exchange)
        return passed

    def _hand_on(self, exchange: Exchange, events: StreamReader, sink: ClientSink, data: bytes) -> bool:
        """Pass on what came, in the step in which it came; False at the end, and where the client is slow."""
        passed = self._follow(exchange, events, data)
        more = not (events.done or events.failed)
        return (sink.put(passed) if passed else True) and more

    async def _begin(self, exchange: Exchange, kind: bytes, more: Headers) -> None:
        exchange.begun = True
        exchange.status = 200
        await exchange.sink.begin(
            200,
            [
                (b"content-type", kind),
                (b"x-request-id", exchange.head.request_id),
                *exchange.route.dialect.headers(exchange.head.request_id),
                *more,
                *exchange.headers,
            ],
        )

    async def _engines_error(self, exchange: Exchange, answer: Answer) -> APIError:
        """An engine's refusal in the gateway's words; its own only where they are about the request."""
        data = b""
        try:
            while (part := await answer.read()) and len(data) < _LARGEST_ERROR:
                data += part
        except UpstreamError:
            data = b""
        said, param = faults.said_in(data)
        if answer.status >= 500 or answer.status in (401, 403):
            self.log.write(
                "error",
                "engine_error",
                f"the engine answered {answer.status}: {str(said)[:500]}",
                request_id=exchange.request_id,
                endpoint=answer.address,
            )
        return faults.translate(answer.status, said, param, exchange.model)
