"""Reads what gateways and engines measure, and sums it up by LLMService."""

import asyncio
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import aiohttp

from slipway_operator.autoscaling import Load
from slipway_operator.plans import Measured
from slipway_operator.rollouts import Counts
from slipway_operator.worlds import Key

Sample = tuple[str, dict[str, str], float]
_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_GATEWAYS = ("slipway_service_requests_", "slipway_revision_")
_ENGINES = ("vllm:num_requests_",)
_MOST = 16 << 20
"""Bytes of one answer that are read."""


def samples(text: str, prefixes: tuple[str, ...]) -> Iterable[Sample]:
    """The samples of Prometheus' text format whose name begins with one of `prefixes`."""
    for line in text.splitlines():
        if not line.startswith(prefixes):
            continue
        match = _LINE.match(line)
        if match is None:
            continue
        labels = {
            name: _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], value)
            for name, value in _LABEL.findall(match[2] or "")
        }
        value = _number(match[3])
        if value is not None and math.isfinite(value):
            yield match[1], labels, value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(slots=True)
class Sums:
    """What all gateways say of one service."""

    in_flight: float = 0.0
    waiting: float = 0.0
    revisions: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Requests and errors."""
    first_byte: dict[str, dict[float, float]] = field(default_factory=dict)

    def add(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """One sample of one gateway."""
        revision = labels.get("revision", "")
        if name == "slipway_service_requests_in_flight":
            self.in_flight += value
        elif name == "slipway_service_requests_waiting":
            self.waiting += value
        elif name == "slipway_revision_requests_total":
            requests, errors = self.revisions.get(revision, (0.0, 0.0))
            failed = value if labels.get("outcome") == "error" else 0.0
            self.revisions[revision] = (requests + value, errors + failed)
        elif name == "slipway_revision_first_byte_seconds_bucket":
            buckets = self.first_byte.setdefault(revision, {})
            bound = _number(labels.get("le", "+Inf"))
            if bound is not None:
                buckets[bound] = buckets.get(bound, 0.0) + value

    def counts(self) -> dict[str, Counts]:
        """By revision."""
        return {
            revision: Counts(requests, errors, self.first_byte.get(revision, {math.inf: 0.0}))
            for revision, (requests, errors) in self.revisions.items()
        }


def summed(answers: Iterable[str]) -> dict[Key, Sums]:
    """By service, what the gateways' `answers` say."""
    sums: dict[Key, Sums] = {}
    for text in answers:
        for name, labels, value in samples(text, _GATEWAYS):
            key = (labels.get("namespace", ""), labels.get("service", ""))
            sums.setdefault(key, Sums()).add(name, labels, value)
    return sums


def measured(sums: Mapping[Key, Sums], key: Key, expected: int, answered: int) -> Measured:
    """One service's share of what `answered` of `expected` gateways said."""
    if answered == 0:
        return Measured()
    own = sums.get(key, Sums())
    return Measured(
        gateways=Load(own.in_flight, own.waiting, expected, answered),
        requests=sum(requests for requests, _ in own.revisions.values()),
        # A part of the gateways' counts, less than those of the look before, would read as a fall.
        revisions=own.counts() if answered == expected else {},
    )


def engine_load(answers: Iterable[str], expected: int) -> Load | None:
    """What engines of one service say; None where none of them publishes it."""
    running = waiting = 0.0
    answered = 0
    for text in answers:
        told = False
        for name, _, value in samples(text, _ENGINES):
            told = True
            if name == "vllm:num_requests_running":
                running += value
            elif name == "vllm:num_requests_waiting":
                waiting += value
        answered += told
    return Load(running, waiting, expected, answered) if answered else None


@dataclass(slots=True)
class Scraper:
    """Asks every source for its metrics at the same time."""

    timeout: float
    """Seconds that each may take."""
    engine_key: Callable[[], str]
    failures: int = 0
    _session: aiohttp.ClientSession | None = None

    async def read(self, addresses: Iterable[str], *, engines: bool = False) -> list[str]:
        """The answers of those at `addresses` (`host:port`) that gave one."""
        answers = await asyncio.gather(*(self._one(address, engines) for address in addresses))
        return [answer for answer in answers if answer is not None]

    async def _one(self, address: str, engine: bool) -> str | None:
        if self._session is None:
            limits = aiohttp.ClientTimeout(total=self.timeout)
            self._session = aiohttp.ClientSession(timeout=limits, connector=aiohttp.TCPConnector(limit=64))
        headers = {"authorization": f"Bearer {key}"} if engine and (key := self.engine_key()) else {}
        try:
            async with self._session.get(f"http://{address}/metrics", headers=headers) as answer:
                if answer.status != 200:
                    self.failures += 1
                    return None
                body = await answer.content.read(_MOST)
                while len(body) < _MOST and (more := await answer.content.read(_MOST - len(body))):
                    body += more
                return body.decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.failures += 1
            return None

    async def close(self) -> None:
        """Close its connections; further readings make others."""
        if self._session is not None:
            await self._session.close()
            self._session = None
