"""How much a key, a key on a model, and an owner may use: counted here, or in a Redis that gateways share."""

from slipway.gateway.limits.contract import (
    LIMIT_HEADERS,
    Decision,
    Level,
    LimitStore,
    Rates,
    Reservation,
    Seed,
    Subject,
)
from slipway.gateway.limits.inprocess import InProcessLimits
from slipway.gateway.limits.refusals import refusal
from slipway.gateway.limits.subjects import subjects_of

__all__ = [
    "LIMIT_HEADERS",
    "Decision",
    "InProcessLimits",
    "Level",
    "LimitStore",
    "Rates",
    "Reservation",
    "Seed",
    "Subject",
    "refusal",
    "subjects_of",
]
