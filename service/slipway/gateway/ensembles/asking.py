"""Asks the members of an ensemble at once, and answers with what is made of their answers.

Each member's call is a request of its own for the same key: limits count it, it leaves a usage record under
the client's request id, and it ends when the client leaves. What the client is told in the end leaves no
record, since no engine has worked for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from slipway.gateway.accounts import Accounts
from slipway.gateway.answering import EVENTS, STREAM
from slipway.gateway.catalog import Snapshot
from slipway.gateway.ensembles import answers
from slipway.gateway.ensembles.answers import Body, Member, UnlikeError
from slipway.gateway.errors import APIError, Headers, invalid_request
from slipway.gateway.exchanges import Exchange
from slipway.gateway.relay.relay import ClientGoneError
from slipway.gateway.requests import Head, serialise
from slipway.gateway.routes import Route
from slipway.gateway.sinks import CollectingSink
from slipway.objects import Ensemble, ModelRoute

Perform = Callable[[Exchange, Body], Awaitable[None]]
_COMPLETIONS = ("/v1/chat/completions", "/v1/completions")
_OFFERED: Mapping[str, tuple[str, ...]] = {
    "vote": (*_COMPLETIONS, "/v1/classify"),
    "average": ("/v1/classify", "/v1/score", "/v1/rerank"),
    "best": _COMPLETIONS,
}


@dataclass(frozen=True, slots=True)
class Ensembles:
    """Answers requests for ensembles."""

    perform: Perform
    """Makes one request for a key, whatever happens."""
    routes: Mapping[str, Route]
    snapshot: Callable[[], Snapshot]
    accounts: Accounts
    clock: Callable[[], float]

    async def answer(
        self, exchange: Exchange, body: Body, admitted: Callable[[], Awaitable[None]] | None
    ) -> None:
        """Answer a request for the ensemble that `exchange.model` names. See Serving.answer."""
        route = self.snapshot().routes.get(exchange.model)
        asked = None if route is None else route.spec.ensemble
        if route is None or asked is None:  # It was changed this very moment.
            raise APIError(503, "overloaded", "The virtual model is being changed. Try again.")
        path = exchange.route.asked.path
        _check(asked, path, body)
        exchange.stream = body.get("stream") is True
        with_usage = exchange.stream and (body.get("stream_options") or {}).get("include_usage") is True
        if admitted is not None:
            await admitted()
        exchange.by_members = True
        members = [Member(target.model, target.weight) for target in route.spec.members]
        failures = await self._ask_all(exchange, _plain(body), members, asked)
        made, told = await self._made(exchange, body, asked, members, failures)
        made["model"] = exchange.model
        made["usage"] = answers.usage(members)
        made["ensemble"] = told | {"members": [_told(member) for member in members]}
        await self._write(exchange, made, with_usage=with_usage)

    # --- asking ---------------------------------------------------------------------------------------

    async def _ask_all(
        self, exchange: Exchange, body: Body, members: Sequence[Member], asked: Ensemble
    ) -> list[bytes]:
        """Ask until there are enough answers; the errors of those that failed. Raises ClientGoneError."""
        sinks = [CollectingSink() for _ in members]
        failures: list[bytes] = []
        left = asyncio.get_running_loop().create_future()

        def leave() -> None:
            if not left.done():
                left.set_result(None)

        async def one(member: Member, sink: CollectingSink) -> None:
            await self._ask(exchange, {**body, "model": member.name}, sink, exchange.route.asked)
            member.status = sink.status
            if sink.status != 200 or sink.cut_off or sink.left:
                member.error = _code(sink)
                if sink.status and sink.status != 200:
                    failures.append(sink.body)
                return
            with suppress(orjson.JSONDecodeError):
                found = orjson.loads(sink.body)
                member.body = found if isinstance(found, dict) else None

        exchange.sink.on_leave(leave)
        tasks = {
            asyncio.create_task(one(member, sink)): at
            for at, (member, sink) in enumerate(zip(members, sinks, strict=True))
        }
        try:
            await self._enough(tasks, left, members, asked, exchange.route.asked.path)
        finally:
            for task, at in tasks.items():
                if not task.done():
                    sinks[at].leave()  # Its engine stops; what it has done so far is counted.
            await asyncio.gather(*tasks, return_exceptions=True)
            exchange.sink.on_leave(None)
        if left.done():
            raise ClientGoneError
        return failures

    async def _enough(
        self,
        tasks: Mapping["asyncio.Task[None]", int],
        left: "asyncio.Future[None]",
        members: Sequence[Member],
        asked: Ensemble,
        path: str,
    ) -> None:
        """Wait until all have answered, or those there are will do."""
        quorum = asked.quorum or len(members) // 2 + 1
        late = self.clock() + asked.patience.seconds
        waiting = set(tasks)
        while waiting and not left.done():
            have = [member for member in members if member.body is not None]
            rest = late - self.clock()
            if len(have) >= quorum:
                if rest <= 0:
                    return
                if asked.strategy == "vote" and path in _COMPLETIONS:
                    open_weight = sum(members[tasks[task]].weight for task in waiting)
                    if answers.decided(_votes(have), open_weight):
                        return
            timeout = rest if len(have) >= quorum or rest > 0 else None
            await asyncio.wait({*waiting, left}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            waiting = {task for task in waiting if not task.done()}

    async def _ask(self, exchange: Exchange, body: Body, sink: CollectingSink, route: Route) -> None:
        head = Head(exchange.head.request_id, traceparent=exchange.head.traceparent)
        call = Exchange(route, head, sink, self.clock())
        call.key, call.priority, call.batch = exchange.key, exchange.priority, exchange.batch
        call.member_of = exchange.model
        await self.perform(call, body)

    # --- one answer of several ------------------------------------------------------------------------

    async def _made(
        self,
        exchange: Exchange,
        body: Body,
        asked: Ensemble,
        members: Sequence[Member],
        failures: Sequence[bytes],
    ) -> tuple[Body, dict[str, Any]]:
        """The answer, and what is told of how it came to be. Raises APIError where too few have answered."""
        path = exchange.route.asked.path
        have = [member for member in members if member.body is not None]
        quorum = asked.quorum or len(members) // 2 + 1
        try:
            if path in _COMPLETIONS:
                have = _usable(have)
            if len(have) < quorum:
                raise _too_few(len(have), quorum, failures)
            told: dict[str, Any] = {"strategy": asked.strategy}
            if asked.strategy == "best":
                return await self._best(exchange, body, asked, have, told)
            if asked.strategy == "vote":
                return _voted(path, have, told)
            return _averaged(path, have, body), told
        except UnlikeError as error:
            raise APIError(
                502, "engine_failed", f"The models of `{exchange.model}` cannot be taken together: {error}."
            ) from None

    async def _best(
        self, exchange: Exchange, body: Body, asked: Ensemble, have: Sequence[Member], told: dict[str, Any]
    ) -> tuple[Body, dict[str, Any]]:
        """The answer that the scorer likes most; without a scorer that of the heaviest member."""
        texts = [answers.text_of(member.body or {}) for member in have]
        sink = CollectingSink()
        exchange.sink.on_leave(sink.leave)
        question = {"model": asked.scorer, "text_1": _question(body), "text_2": texts}
        await self._ask(exchange, question, sink, self.routes["/v1/score"])
        exchange.sink.on_leave(None)
        if sink.left:
            raise ClientGoneError
        try:
            scores = answers.items_of(orjson.loads(sink.body), "data")
            for at, member in enumerate(have):
                member.score = float(scores[at]["score"])
        except (UnlikeError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            told["scorer_error"] = _code(sink)
        # Without scores all are alike, and weight and order decide.
        best = max(have, key=lambda each: (each.score or 0.0, each.weight))
        return dict(best.body or {}), told | {"winner": best.name}

    # --- answering --------------------------------------------------------------------------------------

    async def _write(self, exchange: Exchange, made: Body, *, with_usage: bool) -> None:
        data, kind, more = serialise(made), b"application/json", [(b"content-length", b"0")]
        if exchange.stream:
            events = [serialise(each) for each in answers.chunks(made, with_usage=with_usage)]
            data = b"".join(b"data: %b\n\n" % each for each in (*events, b"[DONE]"))
            kind, more = EVENTS, STREAM
            exchange.first_byte = self.clock()
        else:
            more = [(b"content-length", b"%d" % len(data))]
        exchange.begun, exchange.status = True, 200
        request_id = exchange.head.request_id
        headers: Headers = [
            (b"content-type", kind),
            (b"x-request-id", request_id),
            *exchange.route.dialect.headers(request_id),
            *more,
            *exchange.headers,
        ]
        self.accounts.close(exchange)
        await exchange.sink.begin(200, headers)
        await exchange.sink.write(data, more=False)


def _check(asked: Ensemble, path: str, body: Body) -> None:
    """Raises APIError 400 for what an ensemble of this strategy does not do."""
    offered = _OFFERED[asked.strategy]
    if path not in offered:
        raise invalid_request(
            f"This virtual model asks several models and offers {', '.join(offered)}.", "model", "not_offered"
        )
    if body.get("n") not in (None, 1):
        raise invalid_request("`n` can only be 1: several models are asked for one answer.", "n")


def _plain(body: Body) -> Body:
    """The body for members: their answers are wanted whole, and rankings with every document."""
    left_out = ("stream", "stream_options", "top_n")
    return {name: value for name, value in body.items() if name not in left_out}


def _votes(members: Sequence[Member]) -> list[tuple[str, int]]:
    return [(answers.vote_of(answers.text_of(each.body or {})), each.weight) for each in _usable(members)]


def _usable(members: Sequence[Member]) -> list[Member]:
    """Those whose completion can be read; the others have failed."""
    found = []
    for member in members:
        try:
            answers.choice_of(member.body or {})
        except UnlikeError:
            member.error = "engine_failed"
        else:
            found.append(member)
    return found


def _voted(path: str, have: Sequence[Member], told: dict[str, Any]) -> tuple[Body, dict[str, Any]]:
    if path not in _COMPLETIONS:
        made, agreed = answers.vote_classes(have)
        return made, told | {"agreement": agreed}
    votes = _votes(have)
    at = answers.winner(votes)
    told |= {"winner": have[at].name, "agreement": answers.agreement(votes, at)}
    return dict(have[at].body or {}), told


def _averaged(path: str, have: Sequence[Member], body: Body) -> Body:
    if path == "/v1/score":
        return answers.mean_scores(have)
    if path == "/v1/rerank":
        top = body.get("top_n")
        return answers.mean_ranks(have, top if isinstance(top, int) else None)
    return answers.mean_classes(have)


def _question(body: Body) -> str:
    """What was asked: a prompt, or the last that the user said."""
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return prompt
    for message in reversed(body.get("messages") or ()):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                parts = (each.get("text") for each in content if isinstance(each, dict))
                return "\n".join(part for part in parts if isinstance(part, str))
            return str(content or "")
    return ""


def _too_few(have: int, quorum: int, failures: Sequence[bytes]) -> APIError:
    """The error of a member where all say what is wrong with the request, else that too few answered."""
    told = [_error(each) for each in failures]
    if told and all(each.status < 500 for each in told):
        return told[0]
    return APIError(
        503,
        "model_not_ready",
        f"{have} of the models behind this one have answered, and {quorum} must. Try again in a few seconds.",
        headers=[(b"retry-after", b"5"), (b"retry-after-ms", b"5000")],
    )


def _error(body: bytes) -> APIError:
    with suppress(orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        told = orjson.loads(body)["error"]
        status = {"rate_limit_exceeded": 429, "budget_exceeded": 429, "model_not_found": 404}
        code = str(told["code"])
        if told["type"] != "server_error":
            return APIError(
                status.get(code, 400), code, told["message"], kind=told["type"], param=told["param"]
            )
    return APIError(502, "engine_failed", "A model failed.")


def _code(sink: CollectingSink) -> str:
    if sink.left:
        return "left_out"
    if sink.cut_off:
        return "engine_cut_off"
    try:
        return str(orjson.loads(sink.body)["error"]["code"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "engine_failed"


def _told(member: Member) -> dict[str, Any]:
    """What the client is told of a member."""
    shown: dict[str, Any] = {"model": member.name, "weight": member.weight, "error": member.error}
    if member.score is not None:
        shown["score"] = member.score
    return shown


def asks_several(route: ModelRoute | None) -> bool:
    """Whether a route is an ensemble."""
    return route is not None and route.spec.ensemble is not None
