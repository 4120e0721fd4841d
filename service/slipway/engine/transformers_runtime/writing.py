"""Turns the tokens of an answer into text as they come, and ends it where a stop text appears. Pure."""

from collections.abc import Callable, Collection, Sequence


class Writing:
    """One answer's text. What was given out never changes, however the tokens are cut."""

    def __init__(
        self, decode: Callable[[list[int]], str], *, hidden: Collection[int], stops: Sequence[str]
    ) -> None:
        """Write with `decode`, leaving out the tokens in `hidden` (the special ones)."""
        self._decode = decode
        self._hidden = hidden
        self._stops = stops
        self._window: list[int] = []
        self._read = 0
        self._held = ""
        self.stopped_by: str | None = None
        """The stop text that ended the answer."""

    def add(self, token: int) -> str:
        """Take one token; returns the text that can be given out now."""
        if token in self._hidden:
            return ""
        self._window.append(token)
        new = self._new_text()
        if not new or new.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""  # A character's bytes are not all there yet.
        self._window = self._window[self._read :]
        self._read = len(self._window)
        return self._take(new)

    def finish(self) -> str:
        """The rest, when no token follows."""
        rest = "" if self.stopped_by is not None else self._take(self._new_text())
        if self.stopped_by is None:
            rest, self._held = rest + self._held, ""
        return rest

    def _new_text(self) -> str:
        """What the tokens since the last text add; decoded with those before, for the spaces between."""
        before = self._decode(self._window[: self._read]) if self._read else ""
        return self._decode(self._window)[len(before) :]

    def _take(self, new: str) -> str:
        text = self._held + new
        found = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            at, self.stopped_by = min(found)
            self._held = ""
            return text[:at]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    return next(
        (length for length in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-length:])),
        0,
    )
