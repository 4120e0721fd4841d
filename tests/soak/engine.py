"""A stand-in engine, a process of its own: `python -m soak.engine FINISHED [PORT]`.

It answers like an engine and can be told to misbehave, which no real engine can: the mode is the first line
of the file `FINISHED.mode` (`good`, `slow`, `garbage`, `cut`, `busy`). What it has finished, and only that,
is in the file FINISHED: a request id and the tokens of its answer a line, written before the last bytes.
"""

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

WORDS = 6


def _usage() -> dict[str, int]:
    return {"prompt_tokens": 5, "completion_tokens": WORDS, "total_tokens": 5 + WORDS}


class StandIn:
    """One engine."""

    def __init__(self, finished: Path) -> None:
        self._finished = finished.open("ab", buffering=0)
        self._mode = finished.with_suffix(".mode")

    @property
    def mode(self) -> str:
        try:
            return self._mode.read_text().strip() or "good"
        except OSError:
            return "good"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                if head[0].startswith("GET"):
                    await self._json(writer, b"{}")
                elif not await self._answer(headers["x-request-id"], json.loads(body), writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, request_id: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        mode = self.mode
        if mode == "garbage":
            choices = (
                b"HTTP/1.1 200 OK\r\n\r\n",
                b"\x00\xff\xfe not http\r\n\r\n",
                b"HTTP/1.1 999 \r\ncontent-length: x\r\n\r\n",
            )
            writer.write(random.choice(choices))
            await writer.drain()
            return False
        if mode == "busy":
            await self._json(writer, b'{"error":{"message":"busy"}}', 503)
            return True
        pause = 0.2 if mode == "slow" else random.random() * 0.01
        await asyncio.sleep(pause)
        if body.get("stream"):
            return await self._stream(request_id, writer, pause, cut=mode == "cut")
        if mode == "cut":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{")
            await writer.drain()
            return False
        answer = {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
            ],
            "usage": _usage(),
        }
        self._finish(request_id)
        await self._json(writer, json.dumps(answer).encode())
        return True

    async def _stream(
        self, request_id: str, writer: asyncio.StreamWriter, pause: float, *, cut: bool
    ) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for word in range(WORDS):
            choice = {"index": 0, "delta": {"content": f"w{word} "}, "finish_reason": None}
            self._event(writer, {"id": "c", "object": "chat.completion.chunk", "choices": [choice]})
            await writer.drain()
            await asyncio.sleep(pause / 2)
            if cut and word == WORDS // 2:
                writer.transport.abort()
                return False
        self._event(writer, {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": _usage()})
        self._finish(request_id)
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()
        return True

    @staticmethod
    def _event(writer: asyncio.StreamWriter, payload: object) -> None:
        data = b"data: " + json.dumps(payload).encode() + b"\n\n"
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    @staticmethod
    async def _json(writer: asyncio.StreamWriter, body: bytes, status: int = 200) -> None:
        writer.write(
            b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )
        await writer.drain()

    def _finish(self, request_id: str) -> None:
        self._finished.write(f"{request_id} {5 + WORDS}\n".encode())


async def main() -> None:
    engine = StandIn(Path(sys.argv[1]))
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    server = await asyncio.start_server(engine.serve, "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
