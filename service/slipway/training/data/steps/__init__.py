"""The steps of a preparation: pure functions over records, made once in each process from their options."""

from slipway.training.data.steps.choices import DEDUPLICATE, chosen, made
from slipway.training.data.steps.dropping import DropError, Step

__all__ = ["DEDUPLICATE", "DropError", "Step", "chosen", "made"]
