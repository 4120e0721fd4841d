"""What a step is."""

from collections.abc import Sequence
from typing import Protocol

from slipway.training.records import Record


class DropError(Exception):
    """A record that a step leaves out."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Step(Protocol):
    """Works on one record at a time and knows nothing of the others, so that it can run anywhere."""

    def __call__(self, record: Record) -> Sequence[str]:
        """Change a record in place; the names of what was done to it, or was found in it.

        Raises:
            DropError: the record is left out.
        """
