"""A client over raw TCP: it sends exactly the bytes it is told to and reads whatever comes back."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Reply:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The envelope's inside; fails if the answer is not exactly the envelope."""
        assert self.headers["content-type"] == "application/json", self
        document = self.json
        assert set(document) == {"error"}, document
        assert set(document["error"]) == {"message", "type", "param", "code"}, document
        error: dict[str, Any] = document["error"]
        assert error["message"]
        assert error["code"]
        assert self.headers["x-request-id"]
        return error

    @property
    def events(self) -> list[str]:
        """The data of a stream's events."""
        return [event.removeprefix("data: ") for event in self.body.decode().split("\n\n") if event]


@dataclass
class Connection:
    """One connection of a client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read_head(self) -> tuple[int, dict[str, str]]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(first.split(" ")[1]), headers

    async def read_chunk(self) -> bytes:
        """The next chunk of a chunked body; b"" at its end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size + 2)
        return data[:-2]

    async def read_reply(self) -> Reply:
        status, headers = await self.read_head()
        if "content-length" in headers:
            return Reply(status, headers, await self.reader.readexactly(int(headers["content-length"])))
        body = b""
        while part := await self.read_chunk():
            body += part
        return Reply(status, headers, body)

    async def at_end(self) -> bytes:
        """Everything until the gateway closes the connection."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""


def request(
    path: str,
    body: object = None,
    *,
    key: str | None = "sk-test",
    method: str | None = None,
    headers: dict[str, str] | None = None,
    close: bool = True,
) -> bytes:
    """The bytes of a well-formed request."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1", "host: gateway"]
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if close:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[Connection]:
    """An open connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


async def call(port: int, path: str, body: object = None, **options: Any) -> Reply:
    """One request on a connection of its own."""
    async with connect(port) as connection:
        await connection.send(request(path, body, **options))
        return await connection.read_reply()


def chat(content: str = "hi", **fields: Any) -> dict[str, Any]:
    """A chat request's body."""
    return {"model": "m", "messages": [{"role": "user", "content": content}], **fields}
