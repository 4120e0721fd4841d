"""Which steps there are, which are taken where nobody chose, and what their options may be."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ValidationError

from slipway.objects.datasets import Format, PreparationStep
from slipway.training.data.steps.dropping import Step
from slipway.training.errors import DataError

STEPS = {
    "fix-encoding": "cleaning:FixEncoding",
    "unicode": "cleaning:NormalizeUnicode",
    "html": "cleaning:StripHtml",
    "whitespace": "cleaning:TrimWhitespace",
    "length": "quality:Length",
    "language": "languages:Language",
    "gopher-quality": "quality:GopherQuality",
    "gopher-repetition": "quality:GopherRepetition",
    "c4-quality": "quality:C4Quality",
    "redact-pii": "personal:RedactPersonal",
    "decontaminate": "contamination:Decontaminate",
    "deduplicate": "deduplication:Deduplicate",
}
"""Name of a step: module and class that do it. The class's `Options` are the step's."""
DEDUPLICATE = "deduplicate"
_ALWAYS = ("fix-encoding", "unicode", "whitespace", "length", "language")
_OF_FORMAT: dict[Format, tuple[str, ...]] = {
    "chat": (*_ALWAYS, "gopher-repetition", "redact-pii", DEDUPLICATE),
    "completion": (*_ALWAYS, "gopher-repetition", "redact-pii", DEDUPLICATE),
    "preference": (*_ALWAYS, "redact-pii", DEDUPLICATE),
    "classification": (*_ALWAYS, "redact-pii", DEDUPLICATE),
    "tokens": ("fix-encoding", "unicode", "language", DEDUPLICATE),
    "text": ("fix-encoding", "unicode", "html", *_ALWAYS[2:], "gopher-repetition", "redact-pii", DEDUPLICATE),
}


def chosen(form: Format, steps: Sequence[PreparationStep] | None) -> tuple[PreparationStep, ...]:
    """The steps that are taken, with valid options.

    Raises:
        DataError: a step that there is not, an option that it has not, or an order that makes no sense.
    """
    if steps is None:
        return tuple(PreparationStep(name=name) for name in _OF_FORMAT[form])
    for step in steps:
        options_of(step)
    names = [step.name for step in steps]
    if DEDUPLICATE in names[:-1]:
        raise DataError(
            f"`{DEDUPLICATE}` compares finished records: make it the last step.", "BadPreparation"
        )
    return tuple(steps)


def made(steps: Sequence[PreparationStep]) -> list[Step]:
    """The steps that work on one record at a time, in order."""
    return [_class(step.name)(options_of(step)) for step in steps if step.name != DEDUPLICATE]


def options_of(step: PreparationStep) -> BaseModel:
    """The options of a step, with their defaults.

    Raises:
        DataError: there is no such step, or it has no such option.
    """
    if step.name not in STEPS:
        raise DataError(f"There is no step `{step.name}`; there are {', '.join(STEPS)}.", "BadPreparation")
    try:
        options: BaseModel = _class(step.name).Options.model_validate(step.options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        known = ", ".join(_class(step.name).Options.model_fields) or "none"
        raise DataError(
            f"Step `{step.name}`, option `{where}`: {first['msg']}; its options are: {known}.",
            "BadPreparation",
        ) from error
    return options


def _class(name: str) -> Any:
    module, _, kind = STEPS[name].partition(":")
    return getattr(import_module(f"slipway.training.data.steps.{module}"), kind)
