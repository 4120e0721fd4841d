"""The engine's server-sent events on their way through: whole events only, usage found, faults told honestly.

Events are passed on as they come, without being parsed. Only an event that holds `"usage"` or begins as an
error is looked into. An incomplete event is held until its end has come: a client can do nothing with half
an event, and when the engine dies in the middle of one, what follows must not be glued to it.
"""

import re
from dataclasses import dataclass

import orjson

from slipway.gateway.relay.transport import BadAnswerError

LONGEST_EVENT = 4_194_304
"""Bytes of one event; logprobs of many choices make large ones."""
DONE = b"data: [DONE]"
_BOUNDARY = re.compile(rb"\r?\n\r?\n")
_DONE = re.compile(rb"data:[ ]?\[DONE\]\s*")


@dataclass(slots=True)
class Usage:
    """Tokens of one exchange, as the engine counted them."""

    prompt: int
    completion: int
    cached: int = 0
    """Those of the prompt that were found in the prefix cache."""

    @property
    def total(self) -> int:
        """Prompt and completion together."""
        return self.prompt + self.completion


def usage_of(value: object) -> Usage | None:
    """Read OpenAI's `usage` object; None if it is none."""
    if not isinstance(value, dict):
        return None
    prompt, completion = value.get("prompt_tokens"), value.get("completion_tokens", 0)
    if completion is None:
        completion = 0
    if not isinstance(prompt, int) or not isinstance(completion, int) or prompt < 0 or completion < 0:
        return None
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(prompt, completion, cached if isinstance(cached, int) and 0 <= cached <= prompt else 0)


class EventStream:
    """Filters one stream. `feed` gives the bytes for the client, `done` and `failed` say how it ended.

    `strip_usage` removes the closing event that holds nothing but usage, for clients that did not ask for it.
    An error event of the engine is swallowed with all that follows it, since its words are not for clients;
    `failed` is then true.
    """

    def __init__(self, *, strip_usage: bool) -> None:
        self.done = False
        """`[DONE]` has come: the stream is complete."""
        self.failed = False
        self.error: object = None
        """What the engine said in its error event."""
        self.usage: Usage | None = None
        self._strip = strip_usage
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take what came from the engine; returns what the client gets of it now."""
        if self.failed or self.done:
            return b""
        if self._held:
            data = self._held + data
            self._held = b""
        if not data.endswith(b"\n\n"):
            data = self._hold(data)
            if not data:
                return b""
        if b'"usage"' in data or b'"error"' in data or b"[DONE]" in data:
            return self._inspect(data)
        return data

    def _hold(self, data: bytes) -> bytes:
        """Split off the incomplete event at the end; returns the whole ones."""
        end = max(data.rfind(b"\n\n") + 2, data.rfind(b"\n\r\n") + 3)
        if end < 3:
            end = 0
        self._held = data[end:]
        if len(self._held) > LONGEST_EVENT:
            raise BadAnswerError("an event without an end")
        return data[:end]

    def _inspect(self, data: bytes) -> bytes:
        passed: list[bytes] = []
        start = 0
        for boundary in _BOUNDARY.finditer(data):
            event = data[start : boundary.end()]
            start = boundary.end()
            if self._passes(event):
                passed.append(event)
            if self.failed or self.done:
                self._held = b""
                break
        return b"".join(passed)

    def _passes(self, event: bytes) -> bool:
        if _DONE.fullmatch(event):
            self.done = True
            return True
        if b'"usage"' not in event and b'"error"' not in event:
            return True
        try:
            payload = orjson.loads(event.removeprefix(b"data:"))
        except orjson.JSONDecodeError:
            return True
        if not isinstance(payload, dict):
            return True
        if payload.get("error") and not payload.get("choices"):
            self.failed, self.error = True, payload["error"]
            return False
        usage = usage_of(payload.get("usage"))
        if usage is None:
            return True
        self.usage = usage
        return not (self._strip and payload.get("choices") == [])


class UsageTail:
    """Finds the usage in a JSON answer that passes by, from its last bytes, without holding the answer."""

    _LONGEST = 4096

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the answer."""
        if len(data) >= self._LONGEST:
            self._tail = data[-self._LONGEST :]
        else:
            self._tail = (self._tail + data)[-self._LONGEST :]

    def find(self) -> Usage | None:
        """The usage, once all has been fed. Quotes inside strings are escaped, so none is mistaken for it."""
        tail = self._tail
        at = tail.rfind(b'"usage"')
        begin = tail.find(b"{", at) if at >= 0 else -1
        if begin < 0:
            return None
        end = begin
        while end := tail.find(b"}", end) + 1:
            if tail.count(b"{", begin, end) == tail.count(b"}", begin, end):
                return self._read(tail[begin:end])
        return None

    @staticmethod
    def _read(found: bytes) -> Usage | None:
        try:
            return usage_of(orjson.loads(found))
        except orjson.JSONDecodeError:
            return None
