"""A relayed request from its head to its last byte: key, body, fields, limits, engine, answer, accounts.

`__call__` serves clients over HTTP. Parts of the gateway that ask on somebody's behalf (a batch, a response
in the background) make an Exchange with a sink of their own and call `perform`: whichever way a request
comes, it has one answer, one log line, one count and one usage record.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import random
from typing import TYPE_CHECKING, Any

from slipway.gateway import errors, faults, revisions
from slipway.gateway.accounts import Accounts
from slipway.gateway.answering import Answering
from slipway.gateway.auth import Key
from slipway.gateway.catalog import Catalog, Model
from slipway.gateway.ensembles.asking import Ensembles, asks_several
from slipway.gateway.errors import APIError
from slipway.gateway.exchanges import CLIENT_LEFT, Exchange
from slipway.gateway.identity.audit import Audit
from slipway.gateway.identity.identities import Identities
from slipway.gateway.isolation import cache_salt
from slipway.gateway.limits import LimitStore, Subject, refusal, subjects_of
from slipway.gateway.logs import JSONLog
from slipway.gateway.parameters import check
from slipway.gateway.relay.constraints import constraint_of
from slipway.gateway.relay.queues import CLASSES
from slipway.gateway.relay.relay import (
    Answer,
    Call,
    ClientGoneError,
    NoEndpointError,
    QueueFullError,
    QueueTimeoutError,
    Relay,
)
from slipway.gateway.relay.transport import UpstreamError
from slipway.gateway.requests import Head, LeftError, Receive, Scope, Send, drain, parse, read_body, serialise
from slipway.gateway.routes import Route
from slipway.gateway.routing import candidates
from slipway.gateway.settings import GatewaySettings
from slipway.gateway.sinks import Client, ClientSink
from slipway.objects.money import PER_MILLION

if TYPE_CHECKING:
    from slipway.gateway.tracing import Tracing  # OpenTelemetry is loaded where traces are asked for.

Body = dict[str, Any]
Handler = Callable[[Exchange, Body], Awaitable[None]]
"""Answers the requests of one route in the relay's place; it may call `Serving.answer` with what it made."""


@dataclass(slots=True)
class Serving:
    """Serves the relayed routes. Everything it needs comes in here."""

    settings: GatewaySettings
    catalog: Catalog
    limits: LimitStore
    relay: Relay
    identities: Identities
    audit: Audit
    accounts: Accounts
    log: JSONLog
    engine_key: Callable[[], bytes]
    """The key that engines ask for; b"" if they ask for none."""
    clock: Callable[[], float]
    wall: Callable[[], float]
    answering: Answering
    tracing: "Tracing | None" = None
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    """By path: the routes that keep state."""
    in_flight: int = 0
    ensembles: Ensembles = field(init=False)

    async def __call__(
        self, route: Route, head: Head, client: Client, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve a client's request, whatever happens."""
        exchange = Exchange(route, head, ClientSink(client, send), self.clock())

        async def work() -> None:
            key = self.identities.find(head)
            self._identified(exchange, key if key is not None else await self.identities.resolve(head))
            most = self.settings.max_body
            data = client.turn.whole_body()
            if data is None:
                data = await read_body(head, receive, most, self.settings.body_timeout, ready=False)
            elif len(data) > most:
                raise errors.body_too_large(most)
            body = parse(head, data)
            await self.handlers.get(route.path, self.answer)(exchange, body)

        async def refuse(error: APIError) -> None:
            whole = client.body_complete or await drain(head, receive)
            await self._refuse(exchange, error, close=not whole)

        await self._guarded(exchange, work, refuse)

    async def perform(self, exchange: Exchange, body: Body) -> None:
        """Serve a request that a part of the gateway makes for `exchange.key`, whatever happens."""
        handler = self.handlers.get(exchange.route.path, self.answer)
        await self.carry_out(exchange, lambda: handler(exchange, body))

    async def carry_out(self, exchange: Exchange, work: Callable[[], Awaitable[None]]) -> None:
        """Do a handler's work apart from the request that asked for it, whatever happens."""
        await self._guarded(exchange, work, lambda error: self._refuse(exchange, error, close=False))

    async def answer(
        self, exchange: Exchange, body: Body, admitted: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Answer a parsed request whose key is known. Raises APIError before the answer has begun.

        `admitted` is awaited once limits have let it through, before an engine is asked; what it raises ends
        the request.
        """
        route = exchange.route.asked
        assert exchange.key is not None  # noqa: S101 - for the type checker; callers have identified it
        models = self._models(exchange, exchange.key, body)
        if not models:
            await self.ensembles.answer(exchange, body, admitted)
            return
        for name in check(route.table, body):
            del body[name]
        models = _require(route, models, body)
        exchange.served = models[0]
        await self._reserve(exchange, exchange.key, models[0], body)
        exchange.limited = self.clock()
        if admitted is not None:
            await admitted()
        strip_usage = self._ask_for_usage(exchange, body)
        answer = await self._relay(models, exchange, body)
        try:
            await self.answering.pass_on(exchange, answer, strip_usage=strip_usage)
        finally:
            answer.close()

    def most_tokens(self, model: str) -> int:
        """Most tokens that an answer can have of every model that may make it, as far as anybody has said."""
        found = candidates(self.catalog.snapshot, model, lambda: 0.0)
        known = [each.longest for each in found if each.longest is not None]
        return min([self.settings.max_completion_tokens, *known])

    # --- around every request ---------------------------------------------------------------------

    async def _guarded(
        self,
        exchange: Exchange,
        work: Callable[[], Awaitable[None]],
        refuse: Callable[[APIError], Awaitable[None]],
    ) -> None:
        self.in_flight += 1
        if self.tracing is not None:
            exchange.sampled = self.tracing.sample(exchange.head.traceparent)
        try:
            await work()
        except APIError as error:
            await refuse(error)
        except (ClientGoneError, LeftError):
            exchange.status, exchange.error = CLIENT_LEFT, "client_left"
        except asyncio.CancelledError:
            exchange.error = "drain_timeout"
            if exchange.begun and exchange.stream:
                told = APIError(503, "drain_timeout", "The gateway is shutting down.")
                with suppress(asyncio.CancelledError):
                    await exchange.sink.write(exchange.route.asked.dialect.error_event(told), more=False)
            else:
                exchange.sink.cut()
            # Not raised again: this task ends here, and the server would log a trace for each of them.
        except Exception as error:
            self.log.write(
                "error",
                "failed",
                f"{type(error).__name__}: {error}",
                request_id=exchange.request_id,
                trace="".join(traceback.format_exception(error)),
            )
            await refuse(errors.internal_error())
        finally:
            self.in_flight -= 1
            exchange.sink.on_leave(None)
            self.accounts.close(exchange)
            if self.tracing is not None:
                self.tracing.record(exchange)

    async def _refuse(self, exchange: Exchange, error: APIError, *, close: bool) -> None:
        exchange.error = error.code
        if exchange.begun:
            # Too late for a status: let the client see that its answer is not complete.
            exchange.sink.cut()
            return
        exchange.status = error.status
        if error.status in _AUDITED:
            self.audit.refused(exchange.key, error.code, exchange.route.path, exchange.request_id)
        data = exchange.route.dialect.error(error)
        headers = [
            errors.JSON,
            (b"content-length", b"%d" % len(data)),
            (b"x-request-id", exchange.head.request_id),
            *exchange.route.dialect.headers(exchange.head.request_id),
            *exchange.headers,
            *error.headers,
        ]
        if close:
            headers.append((b"connection", b"close"))
        self.accounts.close(exchange)
        await exchange.sink.begin(error.status, headers)
        await exchange.sink.write(data, more=False)

    # --- before the engine ------------------------------------------------------------------------

    def _identified(self, exchange: Exchange, key: Key) -> None:
        exchange.key, exchange.priority = key, key.priority
        exchange.authenticated = self.clock()
        if self.in_flight > self.settings.max_requests:
            raise errors.overloaded("The gateway has as many requests as it can take. Try again shortly.")

    def _models(self, exchange: Exchange, key: Key, body: Body) -> tuple[Model, ...]:
        """The models that may answer, best first; none for an ensemble, whose members all have to.

        A key needs to be let to the name that was asked for.
        """
        name = body.get("model")
        if name is None:
            raise errors.invalid_request(
                "`model` is required: a name from GET /v1/models.", "model", "missing_required_parameter"
            )
        if type(name) is not str or not name:
            raise errors.invalid_request("`model` must be a string.", "model", "invalid_type")
        snapshot = self.catalog.snapshot
        model = snapshot.models.get(name)
        if model is None or model.split or model.versions:
            exchange.session = _session(body)  # Now, since an engine may not be told all of it.
        found = (model,) if model is not None else candidates(snapshot, name, random, exchange.session)
        if model is None and not exchange.member_of and asks_several(snapshot.routes.get(name)):
            found = ()
        elif not found:
            raise errors.model_not_found(name)
        if not (key.allows(name) or exchange.member_of):
            raise errors.model_not_found(name)
        exchange.model = name
        return found

    async def _reserve(self, exchange: Exchange, key: Key, model: Model, body: Body) -> None:
        route = exchange.route.asked
        subjects = subjects_of(key, model.name, self.catalog.snapshot)
        if route.counts:
            room = route.completion_tokens(body, self.settings.default_completion_tokens)
            prompt = route.prompt_tokens(body)
            if room is None:
                room = self._usual_room(subjects, model, prompt, body.get("n") or 1)
            exchange.reserved_prompt, exchange.reserved_completion = prompt, room
        if not subjects:
            return
        tokens = exchange.reserved_prompt + exchange.reserved_completion
        cost = model.prices.cost(exchange.reserved_prompt, exchange.reserved_completion)
        decision = await self.limits.reserve(subjects, tokens, cost)
        if decision.reservation is None:
            self.accounts.limited(decision)
            raise refusal(decision, self.wall(), key.name)
        exchange.headers = decision.headers()
        exchange.reservation = decision.reservation

    def _usual_room(self, subjects: tuple[Subject, ...], model: Model, prompt: int, choices: int) -> int:
        """Tokens of an answer whose request sets no bound: it must not fail for the gateway's guess of it."""
        room = self.settings.default_completion_tokens * choices
        for subject in subjects:
            rates = subject.rates
            for most in (rates.tokens, rates.tokens_day):
                if most is not None:
                    room = min(room, max(1, most - prompt))
            for budget in (rates.day, rates.week, rates.month):
                if budget is not None and model.prices.completion:
                    left = budget - model.prices.cost(prompt, 0)
                    room = min(room, max(1, left * PER_MILLION // model.prices.completion - 1))
        return room

    @staticmethod
    def _ask_for_usage(exchange: Exchange, body: Body) -> bool:
        """Have the engine count a stream's tokens; True if the client did not ask for that."""
        exchange.stream = body.get("stream") is True
        if not exchange.stream or not exchange.route.asked.dialect.usage_on_request:
            return False
        options = body.get("stream_options") or {}
        asked = options.get("include_usage") is True
        if not asked:
            body["stream_options"] = {**options, "include_usage": True}
        return not asked

    # --- the engine -------------------------------------------------------------------------------

    async def _relay(self, models: tuple[Model, ...], exchange: Exchange, body: Body) -> Answer:
        """The first answer that one of `models` begins, save faults where another is left.

        Raises the last one's APIError.
        """
        failure: APIError | None = None
        exchange.relayed = self.clock()
        if not models[0].ready:
            models = _servable(models)
        for model in models:
            if not model.ready and not (model.may_start and model is models[0]):
                admin = exchange.key is not None and exchange.key.role == "admin"
                why = model.cause if admin else model.why_not_ready
                failure = errors.model_not_ready(model.name, str(why))
                continue
            exchange.served = model
            exchange.version = ""
            if model.versions:
                exchange.version = revisions.version_of(model, exchange.session, random)
            body["model"] = exchange.version or model.name
            call = self._call(exchange, model, body)
            self.accounts.open(exchange)
            exchange.sink.on_leave(call.leave)
            try:
                answer = await self.relay.start(call)
            except (NoEndpointError, QueueFullError, QueueTimeoutError) as error:
                failure = faults.unanswered(error, model.name)
            except UpstreamError as error:
                self.accounts.fault(exchange, error)
                failure = faults.of(error)
                if failure.status == 400:
                    raise failure from None  # The client's mistake falls back to nothing.
            else:
                if model is not models[-1] and (answer.status >= 500 or answer.status == 429):
                    answer.close()
                    continue
                exchange.address = answer.address
                exchange.answered = self.clock()
                if body["model"] != exchange.model:
                    exchange.headers = [*exchange.headers, (b"x-slipway-model", body["model"].encode())]
                return answer
            finally:
                exchange.attempts += call.attempts
        assert failure is not None  # noqa: S101 - there is at least one candidate
        raise failure

    def _call(self, exchange: Exchange, model: Model, body: Body) -> Call:
        head = exchange.head
        key = self.engine_key()
        lines = b"content-type: application/json\r\nx-request-id: %b\r\n" % head.request_id
        if key:
            lines += b"authorization: Bearer %b\r\n" % key
        traceparent = exchange.sampled.traceparent if exchange.sampled is not None else head.traceparent
        if traceparent is not None:
            lines += b"traceparent: %b\r\n" % traceparent
        route = exchange.route.asked
        path = (route.engine_path or route.path).encode()

        def make_head(address: str, length: int) -> bytes:
            exchange.sent = self.clock()
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

        if model.runtime == "vllm" and "cache_salt" in route.table:
            self._part_caches(exchange, body)
        call = Call(model.place, ready, make_head, serialise(body))
        if model.split:
            self._divide(call, model, exchange.session)
        if model.may_start:
            self._let_wait(call, name)
        if exchange.key is not None:
            call.key = exchange.key.name
        call.priority = CLASSES.index(exchange.priority)
        call.constraint = exchange.constraint = constraint_of(body)
        return call

    def _divide(self, call: Call, model: Model, session: str | None) -> None:
        """Have one revision's endpoints take the call, as the service's traffic is shared out."""
        name, revision = model.name, revisions.chosen(model, session, random)

        def ready() -> tuple[str, ...]:
            now = self.catalog.snapshot.models.get(name)
            return revisions.endpoints_of(now, revision, call.tried) if now is not None else ()

        call.ready, call.apart = ready, True

    def _let_wait(self, call: Call, name: str) -> None:
        """Have the call wait for a first endpoint, as long as one may come up."""

        def may_start() -> bool:
            now = self.catalog.snapshot.models.get(name)
            return now is not None and now.may_start

        call.may_start, call.patience = may_start, self.settings.cold_start_timeout

    def _part_caches(self, exchange: Exchange, body: Body) -> None:
        isolation, key = self.settings.isolate_prefix_cache, exchange.key
        if isolation == "off" or key is None:
            return
        if exchange.salt is None:
            own = body.get("cache_salt")
            exchange.salt = cache_salt(isolation, self.engine_key(), key.owner, key.name, own)
        body["cache_salt"] = exchange.salt


_AUDITED = frozenset((401, 403, 404))
"""Statuses of refusals that the audit log counts: who is nobody, who may not, what is not for them."""


def _servable(models: tuple[Model, ...]) -> tuple[Model, ...]:
    """The models that are ready; without any, the first that may come up leads the others."""
    able = tuple(model for model in models if model.ready)
    if able:
        return able
    return tuple(sorted(models, key=lambda model: not model.may_start))


def _session(body: Body) -> str | None:
    """What keeps the requests of a session on one target of a route, and on one revision."""
    for name in ("prompt_cache_key", "user", "safety_identifier"):
        value = body.get(name)
        if type(value) is str and value:
            return value
    return None


def _require(route: Route, models: tuple[Model, ...], body: Body) -> tuple[Model, ...]:
    """Check what a field alone cannot tell; the models that do what is asked."""
    for name in route.required:
        if name not in body:
            raise errors.invalid_request(f"`{name}` is required.", name, "missing_required_parameter")
    able = tuple(model for model in models if model.task in route.tasks)
    if not able:
        raise errors.invalid_request(
            f"The model `{models[0].name}` does not do this; it does {_OFFERED[models[0].task]}.",
            "model",
            "wrong_task",
        )
    if route.either and sum(any(name in body for name in group) for group in route.either) != 1:
        raise errors.invalid_request(
            f"Send either {' or '.join(_named(group) for group in route.either)}.",
            route.either[0][0],
            "missing_required_parameter",
        )
    for group in route.either:
        for name in group:
            if name not in body and any(other in body for other in group):
                raise errors.invalid_request(f"`{name}` is required.", name, "missing_required_parameter")
    if "stream_options" in body and not body.get("stream"):
        raise errors.invalid_request("`stream_options` needs `stream: true`.", "stream_options")
    return able


def _named(group: tuple[str, ...]) -> str:
    return " and ".join(f"`{name}`" for name in group)


_OFFERED = {
    "generate": "chat and completions",
    "embed": "embeddings (POST /v1/embeddings)",
    "classify": "classification (POST /v1/classify)",
    "score": "scoring (POST /v1/score, POST /v1/rerank)",
}
