"""/classify, /score, /rerank and /v1/embeddings of a model that gives labels, scores or vectors."""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from slipway.engine.transformers_runtime import answers, fields
from slipway.engine.transformers_runtime.errors import RequestError, invalid
from slipway.engine.transformers_runtime.metrics import Metrics
from slipway.engine.transformers_runtime.models import Encoder
from slipway.engine.transformers_runtime.passes import Input, Outputs
from slipway.engine.transformers_runtime.reading import Reading
from slipway.engine.transformers_runtime.replies import Handler, as_json, body_of, unless_left
from slipway.engine.transformers_runtime.waiting import Waiting

_TAKEN = ("input_ids", "token_type_ids", "attention_mask")


@dataclass(frozen=True)
class JudgingRoutes:
    """Answers with what one forward pass gives."""

    name: str
    model: Encoder
    reading: Reading
    waiting: Waiting[Input]
    metrics: Metrics
    clock: Callable[[], float]

    def handlers(self) -> Mapping[str, Handler]:
        """By path, those that the model can answer."""
        scoring = {"/score": self.score, "/rerank": self.rerank}
        match self.model.kind:
            case "texts" | "tokens":
                return {"/classify": self.classify}
            case "pairs":
                return {"/classify": self.classify, **scoring}
            case _:
                return {"/v1/embeddings": self.embed, **scoring}

    async def classify(self, request: Request) -> Response:
        """POST /classify."""
        body = fields.checked(fields.CLASSIFY, await body_of(request), "input")
        texts = _several(body["input"])
        tags = self.model.kind == "tokens"
        if tags and not isinstance(texts[0], str):
            raise invalid("`input` must be text: token ids do not tell where entities lie.", "input")
        if tags and "use_activation" in body:
            raise invalid("`use_activation` is not offered for entities.", "use_activation")
        read = await self._read(body, texts, offsets=tags)
        outputs = await unless_left(request.receive, self._outputs(read))
        if tags:
            data = [
                answers.tagged(
                    index,
                    text,
                    output,
                    each["offset_mapping"],
                    each["special_tokens_mask"],
                    self.model.labels,
                )
                for index, (text, each, output) in enumerate(zip(texts, read, outputs, strict=True))
            ]
        else:
            data = [
                answers.labelled(index, self._activated(output, body), self.model.labels)
                for index, output in enumerate(outputs)
            ]
        return as_json(self._listed("classify", data, read))

    async def score(self, request: Request) -> Response:
        """POST /score: one text with each of several, or pair by pair."""
        body = fields.checked(fields.SCORE, await body_of(request))
        named = [names for names in (("text_1", "text_2"), ("queries", "documents")) if names[0] in body]
        if len(named) != 1 or set(body) & {"text_1", "text_2", "queries", "documents"} != set(named[0]):
            raise invalid("Give `text_1` and `text_2`, or `queries` and `documents`.", "text_1")
        firsts, seconds = (_several(body[name]) for name in named[0])
        if len(firsts) not in (1, len(seconds)):
            raise invalid(
                f"`{named[0][0]}` must be one text, or as many as `{named[0][1]}` has.", named[0][0]
            )
        pairs = list(zip(firsts * len(seconds) if len(firsts) == 1 else firsts, seconds, strict=True))
        scores, read = await self._scores(request, body, pairs, named[0])
        data = [answers.scored(index, score) for index, score in enumerate(scores)]
        return as_json(self._listed("score", data, read))

    async def rerank(self, request: Request) -> Response:
        """POST /rerank: documents by their relevance to a query."""
        body = fields.checked(fields.RERANK, await body_of(request), "query", "documents")
        documents = _several(body["documents"])
        pairs = [(body["query"], document) for document in documents]
        scores, read = await self._scores(request, body, pairs, ("query", "documents"))
        identity = f"score-{uuid.uuid4().hex}"
        return as_json(
            answers.reranked(identity, self.name, documents, scores, body.get("top_n", 0), _tokens(read))
        )

    async def embed(self, request: Request) -> Response:
        """POST /v1/embeddings."""
        body = fields.checked(fields.EMBED, await body_of(request), "input")
        if body.get("use_activation") is False:
            raise invalid("`use_activation` can only be true: vectors have the length 1.", "use_activation")
        read = await self._read(body, _several(body["input"]))
        outputs = await unless_left(request.receive, self._outputs(read))
        encoding = body.get("encoding_format", "float")
        data = [answers.embedded(index, output, encoding) for index, output in enumerate(outputs)]
        return as_json(self._listed("embd", data, read))

    async def _scores(
        self,
        request: Request,
        body: Mapping[str, Any],
        pairs: Sequence[tuple[str, str]],
        names: tuple[str, str],
    ) -> tuple[list[float], list[dict[str, Any]]]:
        cut = body.get("truncate_prompt_tokens")
        encode = self.reading.encode
        if self.model.kind == "pairs":
            read = await self.reading.run(
                lambda: [encode(first, second, param=names[1], cut=cut) for first, second in pairs]
            )
            outputs = await unless_left(request.receive, self._outputs(read))
            return [self._activated(output, body)[0] for output in outputs], read
        # Vectors: each text is read once, however many it is compared with.
        places: dict[str, int] = {}
        for pair in pairs:
            for text in pair:
                places.setdefault(text, len(places))
        read = await self.reading.run(lambda: [encode(text, param=names[1], cut=cut) for text in places])
        vectors = await unless_left(request.receive, self._outputs(read))
        scores = [answers.cosine(vectors[places[one]], vectors[places[other]]) for one, other in pairs]
        return scores, read

    async def _read(
        self, body: Mapping[str, Any], texts: Sequence[Any], *, offsets: bool = False
    ) -> list[dict[str, Any]]:
        special, cut = body.get("add_special_tokens", True), body.get("truncate_prompt_tokens")
        return await self.reading.run(
            lambda: [
                self.reading.encode(text, param="input", special=special, cut=cut, offsets=offsets)
                for text in texts
            ]
        )

    async def _outputs(self, read: Sequence[Mapping[str, Any]]) -> list[Any]:
        """What the model gives for each. Raises RequestError if there is no room, or the engine failed."""
        loop = asyncio.get_running_loop()
        waited: list[asyncio.Future[Outputs]] = [loop.create_future() for _ in read]
        inputs = [
            Input(
                {name: each[name] for name in _TAKEN if name in each},
                _receiver(loop, future),
                self.clock(),
            )
            for each, future in zip(read, waited, strict=True)
        ]
        self.waiting.put(inputs)
        try:
            return [await future for future in waited]
        finally:
            left = [each for each, future in zip(inputs, waited, strict=True) if not future.done()]
            for each in left:
                each.cancelled = True
            self.metrics.finished["abort"].inc(len(left))
            for future in waited:
                future.cancel()

    def _activated(self, output: Sequence[float], body: Mapping[str, Any]) -> list[float]:
        return answers.activated(
            output, self.model.activation if body.get("use_activation", True) else "none"
        )

    def _listed(self, kind: str, data: Sequence[Any], read: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        identity = f"{kind}-{uuid.uuid4().hex}"
        return answers.listed(identity, int(time.time()), self.name, data, _tokens(read))


def _several(value: Any) -> list[Any]:
    """One text or one list of ids as a list of one."""
    return [value] if isinstance(value, str) or isinstance(value[0], int) else value


def _tokens(read: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(each["input_ids"]) for each in read)


def _receiver(
    loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Outputs]"
) -> Callable[[Outputs | RequestError], None]:
    def settle(output: Outputs | RequestError) -> None:
        if future.done():
            return
        if isinstance(output, RequestError):
            future.set_exception(output)
        else:
            future.set_result(output)

    def deliver(output: Outputs | RequestError) -> None:
        loop.call_soon_threadsafe(settle, output)

    return deliver
