"""Clients of a soak: a request ends in one of a few ways; every other way is a fault of the gateway."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

from integration.gateway.clients import connect, request
from soak.world import Gateway

TOKENS = ("sk-open", "sk-open", "sk-open", "sk-limited", "sk-wrong")
PATIENCE = 30.0
"""Seconds after which a request that has no end has failed."""


@dataclass
class Outcome:
    """How one request ended."""

    request_id: str
    token: str
    began: float
    kind: str
    """`complete`, `refused`, `told` (an error event), `left` (by us), `cut` (by a gateway), or `wrong`."""
    status: int = 0
    code: str = ""
    why: str = ""


@dataclass
class Tally:
    """All outcomes."""

    outcomes: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def count(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for each in self.outcomes:
            name = each.kind if each.kind != "refused" else f"refused {each.status} {each.code}"
            counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items()))


async def client(
    number: int, gateways: list[Gateway], random: Random, tally: Tally, stop: asyncio.Event, pause: float
) -> None:
    """Ask one request after the other until `stop`."""
    sequence = 0
    while not stop.is_set():
        sequence += 1
        outcome = await one(f"soak-{number}-{sequence}", random.choice(gateways), random)
        tally.add(outcome)
        if outcome.kind in ("refused", "cut"):
            await asyncio.sleep(0.05)
        await asyncio.sleep(random.random() * pause)


async def one(request_id: str, gateway: Gateway, random: Random) -> Outcome:
    """Ask once."""
    token = random.choice(TOKENS)
    stream, leave = random.random() < 0.5, random.random() < 0.05
    body = {
        "model": random.choice(("m", "m", "lone", "absent")),
        "messages": [{"role": "user", "content": "x" * random.randrange(1, 2000)}],
        "max_tokens": 16,
        "stream": stream,
    }
    began = time.monotonic()
    outcome = Outcome(request_id, token, began, "cut")
    try:
        async with asyncio.timeout(PATIENCE):
            async with connect(gateway.port) as connection:
                await connection.send(
                    request("/v1/chat/completions", body, key=token, headers={"x-request-id": request_id})
                )
                if leave:
                    await asyncio.sleep(random.random() * 0.02)
                    outcome.kind = "left"
                    return outcome
                reply = await connection.read_reply()
    except TimeoutError:
        outcome.kind, outcome.why = "wrong", f"no end within {PATIENCE:g} s"
        return outcome
    except (ConnectionError, asyncio.IncompleteReadError):
        return outcome
    outcome.status = reply.status
    _judge(outcome, reply.headers, reply.body, stream=stream)
    return outcome


def _judge(outcome: Outcome, headers: dict[str, str], body: bytes, *, stream: bool) -> None:
    outcome.kind = "wrong"
    if headers.get("x-request-id") != outcome.request_id:
        outcome.why = "the request id is not ours"
    elif outcome.status != 200:
        error = _error(body)
        if error is None:
            outcome.why = f"{outcome.status} without the envelope: {body[:200]!r}"
        elif outcome.status in (429, 503) and "retry-after" not in headers:
            outcome.why = f"{outcome.status} without Retry-After"
        else:
            outcome.kind, outcome.code = "refused", error["code"]
    elif not stream:
        outcome.kind = "complete" if json.loads(body)["choices"][0]["message"]["content"] == "ok" else "wrong"
    else:
        events = [part.removeprefix("data: ") for part in body.decode().split("\n\n") if part]
        words = [json.loads(event) for event in events if event != "[DONE]"]
        if events[-1] == "[DONE]":
            said = "".join(each["choices"][0]["delta"]["content"] for each in words)
            outcome.kind = "complete" if said == "w0 w1 w2 w3 w4 w5 " else "wrong"
            outcome.why = said
        elif "error" in words[-1]:
            outcome.kind, outcome.code = "told", words[-1]["error"]["code"]
        else:
            outcome.why = "a stream that ended with neither [DONE] nor an error"


def _error(body: bytes) -> dict[str, Any] | None:
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return None
    return error if set(error) == {"message", "type", "param", "code"} and error["message"] else None
