"""What the entries of a journal say: JSON arrays. Texts that many requests share are told once a segment.

    [1, number, started_us, ASKED…]                 an engine is about to be asked
    [2, number, closing, OUTCOME…]                  the request has ended
    [3, number, started_us, ASKED…, closing, OUTCOME…]   both at once: no engine was asked

`ASKED` and `OUTCOME` are the fields of those tuples here, in order. Their first one, the texts, is a number;
where its segment has not told that number yet, it is a list: the number and the texts.

Journals of gateways before this hold an object for each entry; they are read as well.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

OPENED, CLOSED, REFUSED = 1, 2, 3


class Asked(NamedTuple):
    """What was asked, known before an engine is; enough for a record if nothing more can be written."""

    texts: tuple[str, str, str, str, str, str, str, str, str]
    """Key, owner, model, route, operation, priority; of the model that serves it: name, service, revision."""
    request_id: str
    stream: bool
    prompt: int = 0
    """Tokens of the prompt that were reserved."""
    completion: int = 0
    cost: int = 0
    """Nano-dollars that were reserved."""
    trace_id: str | None = None
    batch: str | None = None


class Outcome(NamedTuple):
    """What became of it; with `Asked` the whole record."""

    texts: tuple[str, str]
    """Endpoint, and the revision that it serves; "" where that is not known."""
    status: int
    attempts: int = 0
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cost: int = 0
    estimated: bool = False
    error: str = ""
    times: tuple[float | None, ...] = ()
    """Start, then the points of `rows.POINTS`: seconds of the gateway's clock; 0 or None was not reached."""


Opened = tuple[int, Asked]
"""When the request began, in microseconds since 1970, and what was asked."""
Ended = tuple[int, Outcome]
"""Its number among the requests that ended, and what became of it."""
Entry = tuple[int, Opened | None, Ended | None]
"""A request's number in its journal, and what an entry says of it."""

_ASKED = len(Asked._fields)


class Entries:
    """Reads the entries of one segment, from its first one on."""

    def __init__(self) -> None:
        self._asked: dict[int, Any] = {}
        self._outcome: dict[int, Any] = {}

    def read(self, data: bytes) -> Entry:
        """What one entry says."""
        fields = orjson.loads(data)
        if type(fields) is dict:
            return _from_object(fields)
        opened = ended = None
        kind, number = fields[0], fields[1]
        at = 2
        if kind != CLOSED:
            at = 3 + _ASKED
            opened = (fields[2], Asked(_texts(self._asked, fields[3]), *fields[4:at]))
        if kind != OPENED:
            ended = (fields[at], Outcome(_texts(self._outcome, fields[at + 1]), *fields[at + 2 :]))
        return number, opened, ended


def _texts(told: dict[int, Any], field: Any) -> Any:
    if type(field) is list:
        number, *texts = field
        # PostgreSQL's texts hold no NUL.
        told[number] = tuple(text.replace("\0", "") for text in texts)
        return told[number]
    return told[field]


def _from_object(entry: Mapping[str, Any]) -> Entry:
    """An entry as it was written before: `id` and those fields that there were something to say of."""

    def texts(*names: str) -> Any:
        return tuple(str(entry.get(name, "")).replace("\0", "") for name in names)

    opened = ended = None
    if "request_id" in entry or "closing" not in entry:
        prompt, completion, cost = entry.get("reserved", (0, 0, 0))
        asked = Asked(
            texts(*_ASKED_TEXTS),
            entry.get("request_id", ""),
            bool(entry.get("stream")),
            prompt,
            completion,
            cost,
            entry.get("trace_id"),
            entry.get("batch"),
        )
        opened = (int(entry["id"][:13], 16), asked)
    if "closing" in entry:
        outcome = Outcome(
            texts("endpoint", "revision"),
            entry.get("status", 500),
            entry.get("attempts", 0),
            *entry.get("tokens", (0, 0, 0, 0)),
        )._replace(
            estimated=bool(entry.get("estimated")),
            error=entry.get("error", ""),
            times=entry.get("times", ()),
        )
        ended = (entry["closing"], outcome)
    return int(entry["id"][25:], 16), opened, ended


_ASKED_TEXTS = (
    "key",
    "owner",
    "model",
    "route",
    "operation",
    "priority",
    "served_model",
    "service",
    "revision",
)
