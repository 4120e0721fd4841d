"""/v1/completions and /v1/chat/completions of a text-to-text model."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from slipway.engine.transformers_runtime import answers, fields
from slipway.engine.transformers_runtime.errors import RequestError, invalid
from slipway.engine.transformers_runtime.metrics import Metrics
from slipway.engine.transformers_runtime.models import TextToText
from slipway.engine.transformers_runtime.reading import Reading
from slipway.engine.transformers_runtime.replies import Events, Handler, as_json, body_of, unless_left
from slipway.engine.transformers_runtime.rows import Piece, Row, Sampling
from slipway.engine.transformers_runtime.waiting import Waiting
from slipway.engine.transformers_runtime.writing import Writing

COMPLETION_TOKENS = 16
"""Room for a completion that asks for none; OpenAI's default. A chat's is what the model can write."""


@dataclass(frozen=True)
class GenerationRoutes:
    """Answers with generated texts."""

    name: str
    model: TextToText
    reading: Reading
    waiting: Waiting[Row]
    most_rows: int
    metrics: Metrics
    clock: Callable[[], float]

    def handlers(self) -> Mapping[str, Handler]:
        """By path."""
        return {"/v1/completions": self.complete, "/v1/chat/completions": self.chat}

    async def complete(self, request: Request) -> Response:
        """POST /v1/completions."""
        body = fields.checked(fields.COMPLETION, await body_of(request), "prompt")
        prompt = body["prompt"]
        prompts = [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt
        cut = body.get("truncate_prompt_tokens")
        read = await self.reading.run(
            lambda: [self.reading.encode(each, param="prompt", cut=cut) for each in prompts]
        )
        ids = [tuple(each["input_ids"]) for each in read]
        return await self._answer(request, body, ids, body.get("max_tokens", COMPLETION_TOKENS))

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        body = fields.checked(fields.CHAT, await body_of(request), "messages")
        cut = body.get("truncate_prompt_tokens")
        read = await self.reading.run(
            lambda: self.reading.encode(self.reading.prompt_of(body["messages"]), param="messages", cut=cut)
        )
        room = body.get("max_completion_tokens", body.get("max_tokens", self.model.longest))
        return await self._answer(request, body, [tuple(read["input_ids"])], room)

    async def _answer(
        self, request: Request, body: Mapping[str, Any], prompts: Sequence[tuple[int, ...]], room: int
    ) -> Response:
        if room > self.model.longest:
            name = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
            raise invalid(f"`{name}` is {room}; this model writes at most {self.model.longest} tokens.", name)
        options = body.get("stream_options", {})
        if not body.get("stream") and options:
            raise invalid("`stream_options` needs `stream: true`.", "stream_options")
        asked = _Asked(self, body, prompts, room)
        chat = request.url.path.startswith("/v1/chat")
        wording = answers.Wording(
            chat, f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}", int(time.time()), self.name
        )
        self.waiting.put(asked.rows)
        if body.get("stream"):
            return Events(lambda: asked.events(wording, options), asked.close)
        try:
            return as_json(await unless_left(request.receive, asked.whole(wording)))
        finally:
            asked.close()

    def sampling(self, body: Mapping[str, Any], choice: int) -> Sampling:
        """What the request asks for, and the model's own generation_config.json where it says nothing."""
        own = self.model.generation
        chance = bool(own.do_sample)
        seed = body.get("seed")
        return Sampling(
            temperature=body.get("temperature", (own.temperature or 1.0) if chance else 0.0),
            top_p=body.get("top_p", (own.top_p or 1.0) if chance else 1.0),
            top_k=max(0, body.get("top_k", (own.top_k or 0) if chance else 0)),
            repetition_penalty=body.get("repetition_penalty", own.repetition_penalty or 1.0),
            seed=None if seed is None else seed + choice,
        )


class _Asked:
    """The rows of one request, and what comes out of them."""

    def __init__(
        self,
        routes: GenerationRoutes,
        body: Mapping[str, Any],
        prompts: Sequence[tuple[int, ...]],
        room: int,
    ) -> None:
        choices = body.get("n", 1)
        if choices * len(prompts) > routes.most_rows:
            raise invalid(f"`n` times the prompts is above {routes.most_rows}.", "n")
        self._metrics = routes.metrics
        self._prompt_tokens = sum(map(len, prompts))
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue()
        stop = body.get("stop", [])
        self.rows = [
            Row(
                prompt=prompt,
                sampling=routes.sampling(body, choice),
                room=room,
                writing=Writing(
                    self._decoder(routes.model.decoding),
                    hidden=frozenset(routes.model.decoding.all_special_ids),
                    stops=[stop] if isinstance(stop, str) else stop,
                ),
                deliver=self._receiver(place * choices + choice),
                arrived=routes.clock(),
                streams=bool(body.get("stream")),
                ignores_end=bool(body.get("ignore_eos")),
            )
            for place, prompt in enumerate(prompts)
            for choice in range(choices)
        ]
        self._left = set(range(len(self.rows)))
        """Rows that have not ended."""

    @staticmethod
    def _decoder(tokenizer: Any) -> Callable[[list[int]], str]:
        # Without clean-up, which takes spaces back that a stream has already sent.
        return lambda ids: str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def _receiver(self, index: int) -> Callable[[Piece], None]:
        return lambda piece: _put(self._loop, self._pieces, (index, piece))

    async def _read(self) -> AsyncGenerator[tuple[int, Piece], None]:
        """The pieces of all rows until each has ended. Raises RequestError if the engine failed."""
        while self._left:
            index, piece = await self._pieces.get()
            if piece.error is not None:
                self._left.discard(index)
                raise piece.error
            if piece.finish_reason is not None:
                self._left.discard(index)
            yield index, piece

    def close(self) -> None:
        """Let go of the rows that have not ended, as nobody waits for them; even if none was ever read."""
        for index in self._left:
            self.rows[index].cancelled = True
        self._metrics.finished["abort"].inc(len(self._left))
        self._left.clear()

    async def whole(self, wording: answers.Wording) -> dict[str, Any]:
        """The answer, all at once."""
        async with aclosing(self._read()) as pieces:
            told = {index: piece async for index, piece in pieces}
        choices = [told[index] for index in range(len(self.rows))]
        return wording.whole(choices, self._used({index: piece.tokens for index, piece in told.items()}))

    async def events(
        self, wording: answers.Wording, options: Mapping[str, Any]
    ) -> AsyncGenerator[bytes, None]:
        """The answer as events, `[DONE]` the last."""
        written: dict[int, int] = {}
        counting = bool(options.get("continuous_usage_stats"))
        try:
            for index in range(len(self.rows)):
                if (first := wording.beginning(index)) is not None:
                    yield answers.event(first | {"usage": self._used(written)} if counting else first)
            async with aclosing(self._read()) as pieces:
                async for index, piece in pieces:
                    written[index] = piece.tokens
                    part = wording.part(index, piece)
                    if counting:
                        part["usage"] = self._used(written)
                    yield answers.event(part)
            if options.get("include_usage"):
                yield answers.event(wording.ending(self._used(written)))
        except RequestError as error:
            yield answers.event(error.document())
        yield answers.DONE

    def _used(self, written: Mapping[int, int]) -> dict[str, int]:
        return answers.usage(self._prompt_tokens, sum(written.values()))


def _put(loop: asyncio.AbstractEventLoop, queue: "asyncio.Queue[Any]", item: Any) -> None:
    loop.call_soon_threadsafe(queue.put_nowait, item)
