"""Steady traffic from inside a cluster: every request is counted, every failure told.

Runs in a pod with nothing but Python. Asks URL for chats with MODEL and KEY, RATE times a second, every other
one streamed, each over a connection of its own. Standard output gets a JSON object a line: one for each
failure, one a second with what has been until then, and after SIGTERM, when the last answer is there, the
same with `"end": true`.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

URL = urlsplit(os.environ["URL"])
ADDRESS = socket.gethostbyname(URL.hostname or "")
"""Looked up once: what is tried is the Service, not the cluster's DNS."""
PATIENCE = float(os.environ.get("PATIENCE", "60"))


def tell(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


class FailedError(Exception):
    """A request that was not answered as it should be."""


class Traffic:
    def __init__(self) -> None:
        self.sent = self.ok = self.failed = 0
        self.said: Counter[str] = Counter()
        """The answers, which tell who has given them."""
        self.slowest = 0.0

    async def ask(self, stream: bool) -> None:
        self.sent += 1
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                text = await exchange(stream)
        except (FailedError, OSError, EOFError, TimeoutError, ValueError) as error:
            self.failed += 1
            tell(failure=f"{type(error).__name__}: {error}", stream=stream, seconds=time.monotonic() - began)
        else:
            self.ok += 1
            self.said[text] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

    def report(self, end: bool = False) -> None:
        tell(
            end=end,
            sent=self.sent,
            ok=self.ok,
            failed=self.failed,
            said=dict(self.said),
            slowest=self.slowest,
        )


async def exchange(stream: bool) -> str:
    """One chat; what the answer says, without the dots that only fill a stream."""
    body = json.dumps(
        {
            "model": os.environ["MODEL"],
            "stream": stream,
            "max_tokens": 16,
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
        }
    ).encode()
    reader, writer = await asyncio.open_connection(ADDRESS, URL.port or 80, limit=1 << 20)
    try:
        writer.write(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {URL.hostname}\r\nconnection: close\r\n"
            f"authorization: Bearer {os.environ['KEY']}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        data = await reader.read(-1)
    finally:
        writer.close()
    status = head.split(" ", 2)[1]
    if status != "200":
        raise FailedError(f"{status} {data[:300].decode(errors='replace')}")
    if "transfer-encoding: chunked" in head:
        data = joined(data)
    if not stream:
        return str(json.loads(data)["choices"][0]["message"]["content"])
    events = [line.removeprefix("data: ") for line in data.decode().splitlines() if line.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        raise FailedError(f"a stream without its end: {data[-300:].decode(errors='replace')}")
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices).rstrip(".") + "."


def joined(data: bytes) -> bytes:
    whole = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return whole
        whole, data = whole + rest[:length], rest[length + 2 :]
    raise FailedError("an answer that was cut off")


async def main() -> None:
    traffic, stop = Traffic(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks: set[asyncio.Task[None]] = set()
    every = 1 / float(os.environ.get("RATE", "10"))
    due = told = time.monotonic()
    while not stop.is_set():
        task = asyncio.create_task(traffic.ask(stream=traffic.sent % 2 == 0))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if time.monotonic() - told >= 1:
            traffic.report()
            told = time.monotonic()
        due += every
        try:
            await asyncio.wait_for(stop.wait(), max(0.0, due - time.monotonic()))
        except TimeoutError:
            continue
    await asyncio.gather(*tasks)
    traffic.report(end=True)
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
