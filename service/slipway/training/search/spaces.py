"""The space of a search: which hyperparameters differ, and between which values."""

import types
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from slipway.objects.hyperparameters import Hyperparameters, SearchParameter, SearchSpec
from slipway.objects.scalars import Fraction, Number
from slipway.training.errors import SearchError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Kind = Literal["whole", "decimal", "share", "list", "choice"]

_FIELDS = {field.alias or name: field.annotation for name, field in Hyperparameters.model_fields.items()}
_DIGITS = 4
"""Significant digits of a drawn value: more tell two trainings apart only by chance."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One hyperparameter that differs: among `values`, or from `low` to `high`."""

    name: str
    kind: Kind
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    def distribution(self) -> "BaseDistribution":
        """As Optuna has it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.values:
            return CategoricalDistribution(self.values)
        if self.kind == "whole":
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def text(self, value: Any) -> str:
        """A drawn value as it is written."""
        if self.values or self.kind == "whole":
            return str(value)
        rounded = min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)
        if self.kind == "share" or 1e-4 <= abs(rounded) < 1e9:
            return f"{rounded:.9f}".rstrip("0").rstrip(".")
        return f"{rounded:.9g}"

    def value(self, text: str) -> Any:
        """What `text` writes."""
        return text if self.values else int(text) if self.kind == "whole" else float(text)


@dataclass(frozen=True, slots=True)
class Space:
    """All that differs, and what stays as it is."""

    axes: tuple[Axis, ...]
    base: Hyperparameters

    @classmethod
    def of(cls, spec: SearchSpec, base: Hyperparameters) -> "Space":
        """The space that is asked for.

        Raises:
            SearchError: a name is no hyperparameter, a value is none of its values, or a grid has no steps.
        """
        space = cls(tuple(_axis(parameter) for parameter in spec.parameters), base)
        for axis in space.axes:
            for text in axis.values or (_end(axis, axis.low), _end(axis, axis.high)):
                space.hyperparameters({axis.name: text})
            if spec.algorithm == "grid" and not axis.values:
                raise SearchError(
                    f"A grid takes the values of `{axis.name}` one by one; give `values` instead of `min` and"
                    " `max`, or search by `random` or `bayesian`.",
                    "BadSpace",
                )
        return space

    @property
    def size(self) -> int | None:
        """Points in it; None where there is no end of them."""
        counts = [
            len(axis.values) or (int(axis.high - axis.low) + 1 if axis.kind == "whole" else 0)
            for axis in self.axes
        ]
        return prod(counts) if all(counts) else None

    def text(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Drawn values as they are written."""
        return {axis.name: axis.text(values[axis.name]) for axis in self.axes}

    def values(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """What is written, as Optuna keeps it."""
        return {axis.name: axis.value(parameters[axis.name]) for axis in self.axes}

    def plain(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """What is written, as the object has it: lists as lists, all else as text."""
        lists = {axis.name for axis in self.axes if axis.kind == "list"}
        return {name: text.split(",") if name in lists else text for name, text in parameters.items()}

    def hyperparameters(self, parameters: Mapping[str, str]) -> Hyperparameters:
        """A trial's hyperparameters. Raises SearchError."""
        return with_parameters(self.base, parameters)

    def evaluations(self) -> int:
        """Evaluations of a training at most, over the whole space."""
        most = 1
        for name in ("epochs", "evaluations"):
            ends = [int(text) for axis in self.axes if axis.name == name for text in axis.values]
            ends += [int(axis.high) for axis in self.axes if axis.name == name and not axis.values]
            most *= max(ends, default=getattr(self.base, name))
        return max(most, 1)


def with_parameters(base: Hyperparameters, parameters: Mapping[str, str]) -> Hyperparameters:
    """Hyperparameters in which some are replaced by what is written.

    Args:
        base: what stays.
        parameters: by their names in YAML (camelCase), as text; a list's items stand between commas.

    Raises:
        SearchError: a name is unknown or a value does not fit; the sentence names both.
    """
    document = base.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for name, text in parameters.items():
        document[name] = text.split(",") if _kind(name) == "list" else text
    try:
        return Hyperparameters.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        given = parameters.get(name, document.get(name))
        raise SearchError(f"`{given}` is no value for `{name}`: {first['msg']}.", "BadSpace") from None


def _axis(parameter: SearchParameter) -> Axis:
    name, kind = parameter.name, _kind(parameter.name)
    if parameter.values:
        repeated = {text for text in parameter.values if parameter.values.count(text) > 1}
        if repeated:
            raise SearchError(f"`{name}` has {', '.join(sorted(repeated))} more than once.", "BadSpace")
        return Axis(name, kind, parameter.values)
    if kind not in ("whole", "decimal", "share"):
        raise SearchError(f"`{name}` is no number; give `values` instead of `min` and `max`.", "BadSpace")
    low, high = (end.number for end in (parameter.min, parameter.max) if end is not None)
    if low > high:
        raise SearchError(f"`{name}` begins at {low:g} and ends at {high:g}; swap the two.", "BadSpace")
    if parameter.scale == "log" and low <= 0:
        raise SearchError(f"`{name}` on a log scale must begin above 0.", "BadSpace")
    if kind == "whole" and not (low.is_integer() and high.is_integer()):
        raise SearchError(f"`{name}` is a whole number, and so must `min` and `max` be.", "BadSpace")
    return Axis(name, kind, low=low, high=high, log=parameter.scale == "log")


def _end(axis: Axis, end: float) -> str:
    return str(int(end)) if axis.kind == "whole" else axis.text(end)


def _kind(name: str) -> Kind:
    if name not in _FIELDS or name == "extra":
        known = ", ".join(sorted(set(_FIELDS) - {"extra"}))
        raise SearchError(
            f"`{name}` is no hyperparameter that can be searched; there are {known}.", "BadSpace"
        )
    annotation = _FIELDS[name]
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(each for each in get_args(annotation) if each is not type(None))
    if annotation is int:
        return "whole"
    if annotation is Number:
        return "decimal"
    if annotation is Fraction:
        return "share"
    return "list" if get_origin(annotation) is tuple else "choice"
