"""Calendar periods in UTC, by number: days since 1970, weeks from Monday, months.

The script in Redis computes the same numbers.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

DAY = 86_400
_MONDAY = 3
"""Days from the last Monday before 1970 to 1 January 1970, a Thursday."""


@dataclass(frozen=True, slots=True)
class Periods:
    """The periods that a moment lies in."""

    day: int
    week: int
    month: int


def periods_at(seconds: float) -> Periods:
    """The periods at a time in seconds since 1970."""
    day = int(seconds) // DAY
    date = datetime.fromtimestamp(day * DAY, UTC)
    return Periods(day, (day + _MONDAY) // 7, date.year * 12 + date.month - 1)


def begins(period: str, seconds: float) -> int:
    """When the `day`, `week` or `month` that `seconds` lies in began, in seconds since 1970."""
    at = periods_at(seconds)
    match period:
        case "day":
            return at.day * DAY
        case "week":
            return (at.week * 7 - _MONDAY) * DAY
        case _:
            return _month_begins(at.month)


def ends(period: str, seconds: float) -> int:
    """When that period ends."""
    at = periods_at(seconds)
    match period:
        case "day":
            return (at.day + 1) * DAY
        case "week":
            return ((at.week + 1) * 7 - _MONDAY) * DAY
        case _:
            return _month_begins(at.month + 1)


def _month_begins(month: int) -> int:
    return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())
