"""A relayed request from its head to its last byte: key, body, fields, limits, engine, answer, accounts."""

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from slipway.gateway import errors, faults
from slipway.gateway.accounts import CLIENT_LEFT, Record, account, log_fault
from slipway.gateway.auth import Key, authenticate
from slipway.gateway.catalog import Catalog, Model
from slipway.gateway.errors import APIError, Headers
from slipway.gateway.limits import LimitStore, Reservation, refusal
from slipway.gateway.logs import JSONLog
from slipway.gateway.metrics import Metrics
from slipway.gateway.parameters import check
from slipway.gateway.relay.relay import (
    Answer,
    Call,
    ClientGoneError,
    NoEndpointError,
    QueueFullError,
    QueueTimeoutError,
    Relay,
)
from slipway.gateway.relay.sse import EventStream, UsageTail
from slipway.gateway.relay.transport import (
    BadAnswerError,
    TruncatedError,
    UpstreamError,
)
from slipway.gateway.requests import Head, LeftError, Receive, Scope, Send, drain, parse, read_body, serialise
from slipway.gateway.routes import Route
from slipway.gateway.settings import GatewaySettings

_LARGEST_ERROR = 65_536
"""Bytes of an engine's error that are read."""
_STREAM: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


class Client(Protocol):
    """The client's connection, as far as the server below ASGI shows it."""

    @property
    def body_complete(self) -> bool:
        """Whether the whole request body has arrived."""
        ...

    def on_leave(self, call: Callable[[], None] | None) -> None:
        """Have `call` called at once when the client leaves; None: nothing any more."""
        ...

    def cut(self) -> None:
        """Close the connection without ending the answer, so that the client sees it is incomplete."""
        ...


@dataclass(slots=True)
class Serving:
    """Serves the relayed routes. Everything it needs comes in here."""

    settings: GatewaySettings
    catalog: Catalog
    limits: LimitStore
    relay: Relay
    metrics: Metrics
    log: JSONLog
    engine_key: Callable[[], bytes]
    """The key that engines ask for; b"" if they ask for none."""
    clock: Callable[[], float]
    wall: Callable[[], float]
    in_flight: int = 0

    async def __call__(
        self, route: Route, head: Head, client: Client, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve one request, whatever happens: exactly one answer, one log line, one count."""
        record = Record(route, head, self.clock())
        self.in_flight += 1
        try:
            await self._serve(record, client, receive, send)
        except APIError as error:
            await self._refuse(record, error, client, receive, send)
        except (ClientGoneError, LeftError):
            record.status, record.error = CLIENT_LEFT, "client_left"
            self.metrics.disconnects.inc()
        except asyncio.CancelledError:
            record.error = "drain_timeout"
            if record.begun and record.stream:
                await self._end_stream(send, "drain_timeout", "The gateway is shutting down.")
            else:
                client.cut()
            # Not raised again: this task ends here, and the server would log a trace for each of them.
        except Exception as error:
            self.log.write(
                "error",
                "failed",
                f"{type(error).__name__}: {error}",
                request_id=head.request_id.decode(),
                trace="".join(traceback.format_exception(error)),
            )
            await self._refuse(record, errors.internal_error(), client, receive, send)
        finally:
            self.in_flight -= 1
            client.on_leave(None)
            account(record, self.clock() - record.started, self.metrics, self.log)

    async def _serve(self, record: Record, client: Client, receive: Receive, send: Send) -> None:
        head, route = record.head, record.route
        head.check_credentials()
        snapshot = self.catalog.snapshot
        record.key = key = authenticate(snapshot.keyring, head.authorization, head.api_key, self.wall)
        if self.in_flight > self.settings.max_requests:
            raise errors.overloaded("The gateway has as many requests as it can take. Try again shortly.")
        data = await read_body(
            head, receive, self.settings.max_body, self.settings.body_timeout, ready=client.body_complete
        )
        body = parse(head, data)
        model = self._model(record, key, body)
        for name in check(route.table, body):
            del body[name]
        self._require(route, model, body)
        room = route.completion_tokens(body, self.settings.default_completion_tokens)
        reservation = await self._reserve(record, key, route, body, room)
        used: int | None = 0
        try:
            if not model.ready:
                raise errors.model_not_ready(model.name, str(model.why_not_ready))
            strip_usage = self._ask_for_usage(record, body)
            call = self._call(record, model, body)
            client.on_leave(call.leave)
            answer = await self._start(record, call, model)
            try:
                await self._answer(record, answer, client, send, strip_usage=strip_usage)
            finally:
                answer.close()
            used = record.usage.total if record.usage is not None else None
        except (ClientGoneError, asyncio.CancelledError):
            # The engine has worked for somebody who left: the estimate stays, or leaving would make it free.
            used = None if record.attempts else 0
            raise
        finally:
            if reservation is not None:
                await self.limits.settle(reservation, used)

    # --- before the engine ------------------------------------------------------------------------

    def _model(self, record: Record, key: Key, body: dict[str, Any]) -> Model:
        name = body.get("model")
        if name is None:
            raise errors.invalid_request(
                "`model` is required: a name from GET /v1/models.", "model", "missing_required_parameter"
            )
        if type(name) is not str or not name:
            raise errors.invalid_request("`model` must be a string.", "model", "invalid_type")
        model = self.catalog.snapshot.models.get(name)
        if model is None or not key.allows(name):
            raise errors.model_not_found(name)
        record.model = name
        return model

    @staticmethod
    def _require(route: Route, model: Model, body: dict[str, Any]) -> None:
        for name in route.required:
            if name not in body:
                raise errors.invalid_request(f"`{name}` is required.", name, "missing_required_parameter")
        if model.task not in route.tasks:
            offered = "embeddings (POST /v1/embeddings)" if model.task == "embed" else "chat and completions"
            raise errors.invalid_request(
                f"The model `{model.name}` does not do this; it does {offered}.", "model", "wrong_task"
            )
        if route.path == "/tokenize" and ("prompt" in body) == ("messages" in body):
            raise errors.invalid_request(
                "Send either `prompt` or `messages`.", "prompt", "missing_required_parameter"
            )
        if "stream_options" in body and not body.get("stream"):
            raise errors.invalid_request("`stream_options` needs `stream: true`.", "stream_options")

    async def _reserve(
        self, record: Record, key: Key, route: Route, body: dict[str, Any], room: int | None
    ) -> Reservation | None:
        limits = key.limits
        most = limits.tokens_per_minute
        if most is None and limits.requests_per_minute is None and limits.max_parallel is None:
            return None
        tokens = 0
        if most is not None and route.counts:
            prompt = route.prompt_tokens(body)
            if room is None:
                # A request that sets no bound must not fail for the gateway's guess of it.
                room = min(
                    self.settings.default_completion_tokens * (body.get("n") or 1), max(1, most - prompt)
                )
            tokens = prompt + room
        decision = await self.limits.reserve(key.name, limits, tokens)
        record.headers = decision.headers()
        if decision.reservation is None:
            if not decision.never_fits:
                self.metrics.limited.labels(decision.refused_by).inc()
            record.headers = []
            raise refusal(decision, limits, tokens)
        return decision.reservation

    @staticmethod
    def _ask_for_usage(record: Record, body: dict[str, Any]) -> bool:
        """Have the engine count a stream's tokens; True if the client did not ask for that."""
        record.stream = body.get("stream") is True
        if not record.stream:
            return False
        options = body.get("stream_options") or {}
        asked = options.get("include_usage") is True
        if not asked:
            body["stream_options"] = {**options, "include_usage": True}
        return not asked

    def _call(self, record: Record, model: Model, body: dict[str, Any]) -> Call:
        head = record.head
        key = self.engine_key()
        lines = b"content-type: application/json\r\nx-request-id: %b\r\n" % head.request_id
        if key:
            lines += b"authorization: Bearer %b\r\n" % key
        if head.traceparent is not None:
            lines += b"traceparent: %b\r\n" % head.traceparent
        path = record.route.path.encode()

        def make_head(address: str, length: int) -> bytes:
            return b"POST %b HTTP/1.1\r\nhost: %b\r\n%bcontent-length: %d\r\n\r\n" % (
                path,
                address.encode(),
                lines,
                length,
            )

        name = model.name

        def ready() -> tuple[str, ...]:
            now = self.catalog.snapshot.models.get(name)
            return now.ready if now is not None else ()

        return Call(model.service, ready, make_head, serialise(body))

    # --- the engine -------------------------------------------------------------------------------

    async def _start(self, record: Record, call: Call, model: Model) -> Answer:
        try:
            answer = await self.relay.start(call)
        except (NoEndpointError, QueueFullError, QueueTimeoutError) as error:
            raise faults.unanswered(error, model.name) from None
        except UpstreamError as error:
            log_fault(record, error, self.log)
            raise faults.of(error) from None
        finally:
            record.attempts = call.attempts
        record.address = answer.address
        return answer

    async def _answer(
        self, record: Record, answer: Answer, client: Client, send: Send, *, strip_usage: bool
    ) -> None:
        if answer.status != 200:
            raise await self._engines_error(record, answer)
        kind = answer.header(b"content-type") or b""
        if kind.startswith(b"text/event-stream"):
            await self._stream(record, answer, send, strip_usage=strip_usage)
        elif kind.startswith(b"application/json"):
            await self._plain(record, answer, client, send)
        else:
            log_fault(record, BadAnswerError("neither JSON nor events"), self.log)
            raise faults.of(BadAnswerError())

    async def _plain(self, record: Record, answer: Answer, client: Client, send: Send) -> None:
        tail = UsageTail()
        try:
            data = await answer.read()
            if not data:
                raise BadAnswerError("an answer without a body")
        except UpstreamError as error:
            log_fault(record, error, self.log)
            raise faults.of(error) from None
        length = answer.header(b"content-length")
        await self._begin(record, send, b"application/json", [(b"content-length", length)] if length else [])
        while data:
            tail.feed(data)
            try:
                following = await answer.read()
            except UpstreamError as error:
                log_fault(record, error, self.log)
                record.error = faults.of(error).code
                client.cut()
                return
            await send({"type": "http.response.body", "body": data, "more_body": bool(following)})
            data = following
        record.usage = tail.find()

    async def _stream(self, record: Record, answer: Answer, send: Send, *, strip_usage: bool) -> None:
        events = EventStream(strip_usage=strip_usage)
        try:
            while data := await answer.read():
                passed = events.feed(data)
                if passed:
                    if not record.begun:
                        record.first_byte = self.clock() - record.started
                        await self._begin(record, send, b"text/event-stream; charset=utf-8", _STREAM)
                    await send({"type": "http.response.body", "body": passed, "more_body": True})
                if events.failed:
                    raise BadAnswerError("the engine reported an error in its stream")
                record.usage = events.usage
            if not events.done:
                raise TruncatedError("the stream ended without [DONE]")
        except UpstreamError as error:
            record.usage = events.usage
            log_fault(record, error, self.log)
            if not events.done:
                told = faults.of(error)
                if not record.begun:
                    raise told from None
                record.error = told.code
                await self._end_stream(send, told.code, told.message)
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _engines_error(self, record: Record, answer: Answer) -> APIError:
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
                request_id=record.head.request_id.decode(),
                endpoint=answer.address,
            )
        return faults.translate(answer.status, said, param, record.model)

    # --- the client -------------------------------------------------------------------------------

    async def _begin(self, record: Record, send: Send, kind: bytes, more: Headers) -> None:
        record.begun = True
        record.status = 200
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", kind),
                    (b"x-request-id", record.head.request_id),
                    *more,
                    *record.headers,
                ],
            }
        )

    async def _refuse(
        self, record: Record, error: APIError, client: Client, receive: Receive, send: Send
    ) -> None:
        record.error = error.code
        if record.begun:
            # Too late for a status: let the client see that its answer is not complete.
            client.cut()
            return
        record.status = error.status
        body_read = client.body_complete or await drain(record.head, receive)
        data = error.body()
        headers = [
            errors.JSON,
            (b"content-length", b"%d" % len(data)),
            (b"x-request-id", record.head.request_id),
            *record.headers,
            *error.headers,
        ]
        if not body_read:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": data, "more_body": False})

    @staticmethod
    async def _end_stream(send: Send, code: str, message: str) -> None:
        """Tell a stream's client that it is cut short: an error event, and no [DONE]."""
        event = b"data: " + errors.envelope(message, "server_error", None, code) + b"\n\n"
        await send({"type": "http.response.body", "body": event, "more_body": False})
