"""An engine without a model, for clusters that need many pods or faults that no real engine has on demand.

It keeps the engine's contract (arguments, key, /health, /metrics, streams, drain on SIGTERM), in one file of
the standard library, and takes its faults from the flags after `--`:

    --say=TEXT            what it answers
    --tokens=N            events of a stream (8)
    --token-seconds=S     between two of them (0.02)
    --delay=S             before the first byte of an answer (0)
    --error-rate=P        share of the answers that are a 500 (0)
    --start=S             from the start of the process to the first healthy answer (0)
    --fail=REASON:TEXT    end the start with this reason, as an engine does that has no model
    --refuse=TEXT         what it says to every adapter that it is told to load
    --adapter-errors=NAME this adapter's answers are a 500
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

DRAIN = 30.0


def log(event: str, message: str, **fields: Any) -> None:
    print(json.dumps({"event": event, "message": message, **fields}), file=sys.stderr, flush=True)


def brought(file: str) -> dict[str, str]:
    """The adapters that it begins with."""
    try:
        return dict(json.loads(Path(file).read_text()))
    except OSError:
        return {}


class Engine:
    """One engine."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.key = os.environ.get("SLIPWAY_ENGINE_KEY", "")
        self.healthy_at = time.monotonic() + options.start
        self.running = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.draining = False
        self.adapters: dict[str, str] = brought(options.adapters_file)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split(" ", 2)
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                await self.answer(writer, method, path, headers, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(
        self, writer: asyncio.StreamWriter, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> None:
        if path == "/health":
            up = not self.draining and time.monotonic() >= self.healthy_at
            await send(writer, 200 if up else 503, {})
        elif path == "/metrics":
            text = f"vllm:num_requests_running {self.running}\nvllm:num_requests_waiting 0\n"
            await send(writer, 200, text)
        elif self.key and headers.get("authorization") != f"Bearer {self.key}":
            await send(writer, 401, error("This engine answers its gateway only."))
        elif self.draining:
            await send(writer, 503, error("This engine is shutting down."))
        elif path == "/v1/models":
            cards = [{"id": name, "root": root, "parent": "m"} for name, root in self.adapters.items()]
            await send(writer, 200, {"object": "list", "data": [{"id": "m", "parent": None}, *cards]})
        elif method == "POST" and path == "/v1/load_lora_adapter":
            await self.load(writer, json.loads(body))
        elif method == "POST" and path == "/v1/unload_lora_adapter":
            known = self.adapters.pop(json.loads(body)["lora_name"], None)
            await send(writer, 200 if known else 404, {})
        elif "." in (name := json.loads(body or b"{}").get("model", "")) and name not in self.adapters:
            await send(writer, 404, error(f"The model `{name}` does not exist."))
        elif method != "POST" or path != "/v1/chat/completions":
            await send(writer, 404, error("This engine serves no such route."))
        else:
            self.running += 1
            self.idle.clear()
            try:
                await self.chat(writer, json.loads(body))
            finally:
                self.running -= 1
                if not self.running:
                    self.idle.set()

    async def load(self, writer: asyncio.StreamWriter, asked: dict[str, Any]) -> None:
        if self.options.refuse:
            await send(writer, 500, error(self.options.refuse))
            return
        self.adapters[asked["lora_name"]] = asked["lora_path"]
        await send(writer, 200, {})

    async def chat(self, writer: asyncio.StreamWriter, asked: dict[str, Any]) -> None:
        options = self.options
        await asyncio.sleep(options.delay)
        model = asked["model"]
        if random.random() < options.error_rate or model == options.adapter_errors:
            await send(writer, 500, error("a fault that was asked for"))
            return
        says = f"{options.say} ({model})" if model in self.adapters else options.say
        usage = {
            "prompt_tokens": 5,
            "completion_tokens": options.tokens,
            "total_tokens": 5 + options.tokens,
        }
        common = {"id": "c", "created": 1, "model": asked["model"]}
        if not asked.get("stream"):
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": says},
                "finish_reason": "stop",
            }
            answer = {**common, "object": "chat.completion", "choices": [choice], "usage": usage}
            await asyncio.sleep(options.token_seconds * options.tokens)
            await send(writer, 200, answer)
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for at in range(options.tokens):
            text = says if at == 0 else "."
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            event(writer, {**common, "object": "chat.completion.chunk", "choices": [choice]})
            await writer.drain()
            await asyncio.sleep(options.token_seconds)
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        event(writer, {**common, "object": "chat.completion.chunk", "choices": [end]})
        event(writer, {**common, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        event(writer, "[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def drain(self) -> None:
        """Finish what runs."""
        self.draining = True
        try:
            await asyncio.wait_for(self.idle.wait(), DRAIN)
        except TimeoutError:
            log("drain", "Some requests did not end in time")


def error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "server_error", "param": None, "code": None}}


def event(writer: asyncio.StreamWriter, data: Any) -> None:
    line = f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(line), line))


async def send(writer: asyncio.StreamWriter, status: int, document: Any) -> None:
    kind, body = (
        ("text/plain", document) if isinstance(document, str) else ("application/json", json.dumps(document))
    )
    data = body.encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    await writer.drain()


async def main(options: argparse.Namespace) -> None:
    engine = Engine(options)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(engine.serve, options.host, options.port)
    log("ready", f"Listening at {options.port}")
    await stop.wait()
    await engine.drain()
    server.close()


def options_of(arguments: list[str]) -> argparse.Namespace:
    """What it was asked for; flags that only a real engine has mean nothing here."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--fetch-only", action="store_true")
    parser.add_argument("--say", default="The capital of France is Paris.")
    parser.add_argument("--tokens", type=int, default=8)
    for name, default in (("token-seconds", 0.02), ("delay", 0.0), ("error-rate", 0.0), ("start", 0.0)):
        parser.add_argument(f"--{name}", type=float, default=default)
    for name in ("fail", "refuse", "adapter-errors", "adapters-file"):
        parser.add_argument(f"--{name}", default="")
    return parser.parse_known_args([each for each in arguments if each not in ("engine", "--")])[0]


if __name__ == "__main__":
    asked = options_of(sys.argv[1:])
    if asked.fail:
        why, _, text = asked.fail.partition(":")
        log("failed", text, reason=why)
        sys.exit(1)
    if not asked.fetch_only:
        asyncio.run(main(asked))
