"""How long to wait before something is tried again."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Twice as long after each failure, from `first` to `longest` seconds, less a random part up to half."""

    first: float = 0.1
    longest: float = 30.0
    random: Callable[[], float] = random.random
    failures: int = 0

    def next(self) -> float:
        """Count a failure; the seconds to wait for it."""
        # The exponent is bounded as well: 2.0 ** 1024 is an error.
        longest = min(self.longest, self.first * 2.0 ** min(self.failures, 64))
        self.failures += 1
        return longest * (1 - self.random() / 2)

    def reset(self) -> None:
        """It has worked."""
        self.failures = 0
