"""The routes that are relayed to engines: an allow-list, each with its fields and what it asks of a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from slipway.gateway import parameters, pooling_parameters
from slipway.gateway.dialects import OPENAI, Dialect
from slipway.gateway.dialects.anthropic import ANTHROPIC
from slipway.gateway.dialects.whole import WholeAnswer
from slipway.gateway.messages import fields as messages_fields
from slipway.gateway.responses import fields as responses_fields
from slipway.gateway.settings import GatewaySettings
from slipway.objects import Task

_USAGE_ANYWHERE = replace(OPENAI, finder=WholeAnswer, usage_on_request=False)
CHARACTERS_PER_TOKEN = 4
"""Of English text with common tokenizers; the estimate is settled to the truth after the call."""


@dataclass(frozen=True, slots=True)
class Route:
    """One relayed route."""

    path: str
    operation: str
    """OpenTelemetry's gen_ai.operation.name."""
    summary: str
    tasks: tuple[Task, ...]
    """Tasks of the models that can answer it."""
    table: parameters.Table
    required: tuple[str, ...]
    streams: bool
    prompt_tokens: Callable[[Mapping[str, Any]], int]
    """Estimates the prompt's tokens from a checked body."""
    counts: bool = True
    """Whether tokens are used up by it."""
    dialect: Dialect = OPENAI
    engine_path: str = ""
    """The engine's path for it, where that differs."""
    through: "Route | None" = None
    """The route as which engines are asked, for an API that the gateway translates."""
    either: tuple[tuple[str, ...], ...] = ()
    """Groups of fields of which exactly one must be there, whole."""

    @property
    def asked(self) -> "Route":
        """The route as which engines are asked."""
        return self.through or self

    def completion_tokens(self, body: Mapping[str, Any], default: int) -> int | None:
        """Room for the answer that the request asks for, over all choices; None if it sets none."""
        if not self.streams:
            return 0
        each = body.get("max_completion_tokens") or body.get("max_tokens")
        return None if each is None else each * (body.get("n") or 1)


def _of_text(value: Any) -> int:
    """Tokens of a prompt: a string, token ids, or a list of either."""
    if isinstance(value, str):
        return len(value) // CHARACTERS_PER_TOKEN + 1
    if isinstance(value, list):
        if value and isinstance(value[0], int):
            return len(value)
        return sum(_of_text(each) for each in value)
    return 0


def _of_messages(body: Mapping[str, Any]) -> int:
    tokens = 0
    for message in body.get("messages") or ():
        content = message.get("content")
        tokens += 4  # The template's own tokens around each message.
        if isinstance(content, str):
            tokens += len(content) // CHARACTERS_PER_TOKEN
        elif isinstance(content, list):
            tokens += sum(
                len(part["text"]) // CHARACTERS_PER_TOKEN if part["type"] == "text" else 256
                for part in content
            )
    if body.get("tools"):
        tokens += len(str(body["tools"])) // CHARACTERS_PER_TOKEN
    return tokens


def _of_pairs(body: Mapping[str, Any]) -> int:
    """Tokens of pairs of texts: the first text is read again with each of the others."""
    first = body.get("query") or body.get("text_1") or body.get("queries") or ""
    others = body.get("text_2") or body.get("documents") or ""
    again = len(others) if isinstance(others, list) and not isinstance(first, list) else 1
    return _of_text(first) * again + _of_text(others)


def relayed_routes(settings: GatewaySettings) -> dict[str, Route]:
    """All relayed routes by path. Each answers POST and nothing else."""
    every: tuple[Task, ...] = ("generate", "embed", "classify", "score")
    chat = Route(
        path="/v1/chat/completions",
        operation="chat",
        summary="Answer a conversation",
        tasks=("generate",),
        table=parameters.chat_completions(settings),
        required=("model", "messages"),
        streams=True,
        prompt_tokens=_of_messages,
    )
    tokenize = Route(
        path="/tokenize",
        operation="tokenize",
        summary="Turn a text or a chat into token ids",
        tasks=every,
        table=parameters.tokenize(settings),
        required=("model",),
        either=(("prompt",), ("messages",)),
        streams=False,
        prompt_tokens=lambda body: 0,
        counts=False,
    )
    routes = (
        chat,
        replace(
            chat,
            path="/v1/responses",
            summary="Make a response, which can be gone on from",
            table=responses_fields.responses(settings),
            required=("model", "input"),
            through=chat,
        ),
        replace(
            tokenize,
            path="/v1/responses/input_tokens",
            summary="Count the tokens of a response's prompt",
            tasks=("generate",),
            table=responses_fields.input_tokens(settings),
            required=("model", "input"),
            either=(),
            through=tokenize,
        ),
        replace(
            chat,
            path="/v1/messages",
            summary="Answer a conversation, as Anthropic's API does",
            table=messages_fields.messages(settings),
            required=("model", "messages", "max_tokens"),
            dialect=ANTHROPIC,
            through=chat,
        ),
        replace(
            tokenize,
            path="/v1/messages/count_tokens",
            summary="Count the tokens of a message's prompt",
            tasks=("generate",),
            table=messages_fields.count_tokens(settings),
            required=("model", "messages"),
            either=(),
            dialect=ANTHROPIC,
            through=tokenize,
        ),
        Route(
            path="/v1/completions",
            operation="text_completion",
            summary="Continue a text",
            tasks=("generate",),
            table=parameters.completions(settings),
            required=("model", "prompt"),
            streams=True,
            prompt_tokens=lambda body: _of_text(body.get("prompt")),
        ),
        Route(
            path="/v1/embeddings",
            operation="embeddings",
            summary="Turn texts into vectors",
            tasks=("embed",),
            table=parameters.embeddings(settings),
            required=("model", "input"),
            streams=False,
            prompt_tokens=lambda body: _of_text(body.get("input")),
        ),
        Route(
            path="/v1/score",
            operation="score",
            summary="Score how well texts fit together",
            tasks=("score", "embed"),
            table=pooling_parameters.score(settings),
            required=("model",),
            either=(("text_1", "text_2"), ("queries", "documents")),
            streams=False,
            prompt_tokens=_of_pairs,
            dialect=_USAGE_ANYWHERE,
            engine_path="/score",
        ),
        Route(
            path="/v1/rerank",
            operation="rerank",
            summary="Order documents by their relevance to a query",
            tasks=("score", "embed"),
            table=pooling_parameters.rerank(settings),
            required=("model", "query", "documents"),
            streams=False,
            prompt_tokens=_of_pairs,
            dialect=_USAGE_ANYWHERE,
            engine_path="/rerank",
        ),
        Route(
            path="/v1/classify",
            operation="classify",
            summary="Label texts or their tokens",
            tasks=("classify",),
            table=pooling_parameters.classify(settings),
            required=("model", "input"),
            streams=False,
            prompt_tokens=lambda body: _of_text(body.get("input")),
            dialect=_USAGE_ANYWHERE,
            engine_path="/classify",
        ),
        tokenize,
        Route(
            path="/detokenize",
            operation="detokenize",
            summary="Turn token ids into text",
            tasks=every,
            table=parameters.detokenize(settings),
            required=("model", "tokens"),
            streams=False,
            prompt_tokens=lambda body: 0,
            counts=False,
        ),
    )
    return {route.path: route for route in routes}
