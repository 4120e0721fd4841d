"""The ids of a request that is traced, chosen before its spans are made."""

from dataclasses import dataclass


@dataclass(slots=True)
class Sampled:
    """A request that is traced."""

    trace_id: int
    server: int
    upstream: int
    parent: int | None

    @property
    def traceparent(self) -> bytes:
        """W3C's header for the engine."""
        return b"00-%032x-%016x-01" % (self.trace_id, self.upstream)
