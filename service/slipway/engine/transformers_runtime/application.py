"""The engine's routes as an ASGI application; the guard stands before it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from slipway.engine.transformers_runtime import fields
from slipway.engine.transformers_runtime.errors import RequestError, invalid
from slipway.engine.transformers_runtime.metrics import CONTENT_TYPE, Metrics
from slipway.engine.transformers_runtime.reading import Reading
from slipway.engine.transformers_runtime.replies import Handler, as_json, body_of, endpoint, refusal


@dataclass(frozen=True)
class CommonRoutes:
    """What every model answers."""

    name: str
    reading: Reading
    metrics: Metrics
    alive: Callable[[], bool]
    started: int
    """Seconds since 1970."""

    async def health(self, request: Request) -> Response:
        """GET /health: 200 while requests are worked on."""
        return Response(status_code=200 if self.alive() else 503)

    async def scrape(self, request: Request) -> Response:
        """GET /metrics."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    async def models(self, request: Request) -> Response:
        """GET /v1/models."""
        card = {
            "id": self.name,
            "object": "model",
            "created": self.started,
            "owned_by": "slipway",
            "root": self.name,
            "parent": None,
            "max_model_len": self.reading.longest,
        }
        return as_json({"object": "list", "data": [card]})

    async def tokenize(self, request: Request) -> Response:
        """POST /tokenize: a prompt or a chat."""
        body = fields.checked(fields.TOKENIZE, await body_of(request))
        if ("prompt" in body) == ("messages" in body):
            raise invalid("Give `prompt` or `messages`.", "prompt")
        ids, strings = await self.reading.run(lambda: self._ids(body))
        return as_json(
            {
                "count": len(ids),
                "max_model_len": self.reading.longest,
                "tokens": ids,
                "token_strs": strings if body.get("return_token_strs") else None,
            }
        )

    def _ids(self, body: Mapping[str, Any]) -> tuple[list[int], list[str]]:
        chat = "messages" in body
        text = self.reading.prompt_of(body["messages"]) if chat else body["prompt"]
        special = body.get("add_special_tokens", True)
        ids = self.reading.count(text, special=special)
        return ids, self.reading.strings(ids)

    async def detokenize(self, request: Request) -> Response:
        """POST /detokenize."""
        body = fields.checked(fields.DETOKENIZE, await body_of(request), "tokens")
        return as_json({"prompt": await self.reading.run(lambda: self.reading.text_of(body["tokens"]))})


def application(common: CommonRoutes, answering: Mapping[str, Handler]) -> Starlette:
    """The application: the common routes, and those by path that the model can answer."""

    def for_model(handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            body = await body_of(request)
            asked = body.get("model") if isinstance(body, dict) else None
            if asked is not None and asked != common.name:
                message = f"The model `{str(asked)[:64]}` does not exist; this engine serves `{common.name}`."
                raise RequestError(404, "model_not_found", message, "model")
            return await handler(request)

        return endpoint(answer)

    async def not_offered(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        offered = ", ".join(sorted(answering))
        return refusal(RequestError(status, "not_offered", f"This engine's model answers {offered}."))

    async def broken(request: Request, error: Exception) -> Response:
        return refusal(RequestError(500, "engine_failed", "The engine failed on this request."))

    posted = {"/tokenize": common.tokenize, "/detokenize": common.detokenize, **answering}
    return Starlette(
        routes=[
            Route("/health", common.health, methods=["GET"]),
            Route("/metrics", common.scrape, methods=["GET"]),
            Route("/v1/models", common.models, methods=["GET"]),
            *(Route(path, for_model(handler), methods=["POST"]) for path, handler in posted.items()),
        ],
        exception_handlers={HTTPException: not_offered, Exception: broken},
    )
