"""How many retries there may be: a share of the requests, so that a service in trouble is not asked thrice.

After Finagle's RetryBudget and Envoy's retry_budget.
"""

from collections.abc import Callable
from dataclasses import dataclass

MOST = 100.0
"""Retries that can be saved up."""


@dataclass(slots=True)
class RetryBudget:
    """The retries of one service."""

    clock: Callable[[], float]
    share: float
    """Retries for each request."""
    least: float
    """Retries a second that there may be in any case."""
    _saved: float = 0.0
    _at: float = -1.0

    def request(self) -> None:
        """A request has come."""
        self._saved = min(MOST, self._saved + self.share)

    def retry(self) -> bool:
        """Whether it may be tried again; takes one of the retries."""
        now = self.clock()
        if self._at < 0:
            self._at = now - 10.0 / max(self.least, 0.001)
        # A few seconds' worth of the least, so that a quiet service can always try again.
        self._saved = min(MOST, self._saved + min(10.0, (now - self._at) * self.least))
        self._at = now
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
