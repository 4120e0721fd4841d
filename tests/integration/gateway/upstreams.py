"""Scripted engines over raw TCP. They stand for faults that a real engine cannot be made to produce."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Received:
    """One request as an upstream saw it."""

    head: bytes
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if name}

    @property
    def target(self) -> str:
        return self.head.split(b" ")[1].decode()


@dataclass
class Exchange:
    """One request and the means to answer it badly."""

    request: Received
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def begin_stream(self) -> None:
        await self.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, payload: object) -> None:
        await self.chunk(b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n")

    async def end_stream(self) -> None:
        await self.chunk(b"data: [DONE]\n\n")
        await self.send(b"0\r\n\r\n")

    async def answer(self, payload: object, status: int = 200, *, close: bool = False) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode()
        closing = b"connection: close\r\n" if close else b""
        await self.send(
            b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b"
            % (status, closing, len(body), body)
        )

    def abort(self) -> None:
        """Close with a reset, as a killed process does."""
        self.writer.transport.abort()

    async def closed_by_peer(self) -> None:
        """Returns when the gateway has closed the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass


Script = Callable[[Exchange], Awaitable[None]]


@dataclass
class Upstream:
    """A listening scripted engine; `script` may be exchanged at any time."""

    script: Script
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    address: str = ""
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    errors: list[BaseException] = field(default_factory=list)

    async def start(self, port: int = 0) -> "Upstream":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length")
                    ),
                    0,
                )
                body = await reader.readexactly(length)
                received = Received(head, body, number)
                self.requests.append(received)
                await self.script(Exchange(received, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()


CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
}
COMPLETION = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "text": "Hello", "finish_reason": "stop", "logprobs": None}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
}
EMBEDDING = {
    "id": "embd-1",
    "object": "list",
    "created": 1,
    "model": "e",
    "data": [{"index": 0, "object": "embedding", "embedding": [0.1, 0.2]}],
    "usage": {"prompt_tokens": 3, "total_tokens": 3, "completion_tokens": 0, "prompt_tokens_details": None},
}


def chunk(content: str) -> dict[str, Any]:
    """One chunk of a streamed chat."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}],
    }


def usage_chunk() -> dict[str, Any]:
    """The closing chunk that holds the usage."""
    return chunk("") | {
        "choices": [],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }


JUDGED = {"id": "j-1", "object": "list", "created": 1, "model": "m"}
JUDGE_USAGE = {"prompt_tokens": 4, "total_tokens": 4, "completion_tokens": 0}
SCORE = {**JUDGED, "data": [{"index": 0, "object": "score", "score": 0.5}], "usage": JUDGE_USAGE}
CLASSES = {
    **JUDGED,
    "data": [{"index": 0, "label": "A", "probs": [0.7, 0.3], "num_classes": 2}],
    "usage": JUDGE_USAGE,
}
RERANK = {
    "id": "j-2",
    "model": "m",
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
    "results": [{"index": 0, "document": {"text": "a"}, "relevance_score": 0.5}],
}


async def behave(exchange: Exchange) -> None:
    """Answer as an engine in good health does."""
    target, body = exchange.request.target, exchange.request.json
    if body.get("stream"):
        await exchange.begin_stream()
        for word in ("Hel", "lo"):
            await exchange.event(chunk(word))
        if (body.get("stream_options") or {}).get("include_usage"):
            await exchange.event(usage_chunk())
        await exchange.end_stream()
        return
    answers = {
        "/v1/chat/completions": CHAT,
        "/v1/completions": COMPLETION,
        "/v1/embeddings": EMBEDDING,
        "/score": SCORE,
        "/rerank": RERANK,
        "/classify": CLASSES,
        "/tokenize": {"count": 1, "max_model_len": 2048, "tokens": [1]},
        "/detokenize": {"prompt": "a"},
    }
    await exchange.answer(answers[target])
