"""Terms of a local run's API keys: how long they last, and which of them came with a file."""

import re
from datetime import UTC, datetime, timedelta

MANAGED_BY = "slipway.dev/managed-by"
"""Annotation of keys that came with a file; only these go when the file no longer holds them."""

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def expiry(text: str, now: datetime) -> datetime:
    """The time that lies `text` (such as 90m, 12h, 30d, 4w) after `now`. Raises ValueError."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a length of time; write a number and m, h, d or w, such as 30d")
    try:
        return (now + timedelta(**{_UNITS[match[2]]: int(match[1])})).replace(microsecond=0)
    except OverflowError:
        raise ValueError(f"{text!r} is too long; no calendar reaches so far") from None


def utc_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
