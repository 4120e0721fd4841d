"""Values written as text: durations, quantities and decimals, since Kubernetes objects hold no floats."""

import re
from decimal import Decimal
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class Text(str):
    """Text of one form; stays as it was written."""

    __slots__ = ()
    pattern: ClassVar[str]
    """Regular expression in the syntax that Python, Rust and RE2 share."""
    longest: ClassVar[int] = 32
    """Characters, at most."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls,
            core_schema.str_schema(pattern=cls.pattern, max_length=cls.longest),
            serialization=core_schema.plain_serializer_function_ser_schema(str.__str__),
        )

    @classmethod
    def of(cls, text: str) -> Self:
        """The value written as `text`. Raises ValueError."""
        if len(text) > cls.longest or not re.fullmatch(cls.pattern, text):
            raise ValueError(f"{text!r} is no {cls.__name__}")
        return cls(text)


_UNITS = r"([0-9]{1,6}h([0-9]{1,6}m)?([0-9]{1,6}s)?|[0-9]{1,6}m([0-9]{1,6}s)?|[0-9]{1,6}s)"


def _seconds(text: str) -> int:
    factors = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * factors[unit] for number, unit in re.findall(r"([0-9]+)([hms])", text))


class Duration(Text):
    """A time span in hours, minutes and seconds: `30s`, `5m`, `1h30m`."""

    __slots__ = ()
    pattern = f"^{_UNITS}$"

    @property
    def seconds(self) -> int:
        """The whole span in seconds."""
        return _seconds(self)


class Pause(Text):
    """How long something waits: a duration, or `manual`, until somebody says to go on."""

    __slots__ = ()
    pattern = f"^(manual|{_UNITS})$"

    @property
    def seconds(self) -> int | None:
        """The whole span in seconds; None: until somebody says to go on."""
        return None if self == "manual" else _seconds(self)


class Fraction(Text):
    """A decimal from 0 to 1 as text: `"0.05"`."""

    __slots__ = ()
    pattern = r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$"

    @property
    def number(self) -> float:
        return float(self)


class Factor(Text):
    """A decimal of at least 1 as text: `"1.5"`."""

    __slots__ = ()
    pattern = r"^[1-9][0-9]{0,3}(\.[0-9]{1,9})?$"

    @property
    def number(self) -> float:
        return float(self)


class Number(Text):
    """Any decimal as text, with or without an exponent: `"-0.5"`, `"2e-4"`."""

    __slots__ = ()
    pattern = r"^-?[0-9]{1,12}(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,2})?$"

    @property
    def number(self) -> float:
        return float(self)


_SUFFIXES = {"": Decimal(1), "m": Decimal("0.001"), "k": Decimal(1000)}
_SUFFIXES |= {suffix: Decimal(1000) ** power for power, suffix in enumerate("MGTPE", 2)}
_SUFFIXES |= {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)}


class Quantity(Text):
    """An amount after Kubernetes: `2`, `500m`, `24Gi`. A whole number may be written without quotes."""

    __slots__ = ()
    pattern = r"^[0-9]{1,18}(\.[0-9]{1,9})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def written(value: object) -> object:
            return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

        return core_schema.no_info_before_validator_function(
            written, super().__get_pydantic_core_schema__(source, handler)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"x-kubernetes-int-or-string": True, "pattern": cls.pattern}

    @property
    def number(self) -> Decimal:
        """The amount in units: cores, bytes, pieces."""
        digits = self.rstrip("mkMGTPEKi")
        return Decimal(digits) * _SUFFIXES[self[len(digits) :]]
