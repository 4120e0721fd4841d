"""Money in objects: US dollars as a decimal string, counted in whole nano-dollars so that sums are exact."""

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from slipway.objects.rules import extra

NANO = 1_000_000_000
"""Nano-dollars of a dollar."""
PER_MILLION = 1_000_000
"""Tokens that a price is given for."""


def nano_dollars(amount: str) -> int:
    """A decimal string of dollars as nano-dollars, rounded half to even."""
    return int((Decimal(amount) * NANO).to_integral_value())


def dollars(nano: int) -> str:
    """Nano-dollars as a decimal string of dollars, exact and as short as it can be: `0.0012`."""
    whole, part = divmod(nano, NANO)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".")


_MOST = "must be at most 1000000 dollars"


def _in_range(amount: str) -> str:
    if Decimal(amount) > 1_000_000:
        raise ValueError(_MOST)
    return amount


Dollars = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,7}(\.[0-9]{1,9})?$"),
    AfterValidator(_in_range),
    Field(json_schema_extra={"maxLength": 17, **extra(("double(self) <= 1000000.0", _MOST))}),
]
"""US dollars as a string such as `"0.15"`: Kubernetes objects hold no floats, and money is none either."""
