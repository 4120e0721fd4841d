"""Rules for request fields: a check for the hot path and the JSON schema that documents it, made together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one field may hold.

    `check(value)` gives None if the value is good, else `(where, why)`: the place inside the field ("" for
    the field itself, `[2].url` below it) and the rest of a sentence that begins with the field's name.
    """

    check: Callable[[Any], "Problem | None"]
    schema: Schema
    forward: bool = True
    """False: the field is for the gateway alone (or has no effect) and is not sent to the engine."""


Problem = tuple[str, str]


def _document(schema: Schema, note: str) -> Schema:
    return {**schema, "description": note} if note else schema


def boolean(note: str = "") -> Rule:
    """True or false."""

    def check(value: Any) -> Problem | None:
        return None if value is True or value is False else ("", "must be true or false")

    return Rule(check, _document({"type": "boolean"}, note))


def integer(low: int, high: int, note: str = "") -> Rule:
    """A whole number; true and 5.0 are none."""

    def check(value: Any) -> Problem | None:
        if type(value) is int and low <= value <= high:
            return None
        return "", f"must be a whole number from {low} to {high}"

    return Rule(check, _document({"type": "integer", "minimum": low, "maximum": high}, note))


def number(low: float, high: float, note: str = "") -> Rule:
    """A number."""

    def check(value: Any) -> Problem | None:
        if type(value) in (int, float) and low <= value <= high:
            return None
        return "", f"must be a number from {low:g} to {high:g}"

    return Rule(check, _document({"type": "number", "minimum": low, "maximum": high}, note))


def text(longest: int, note: str = "", *, shortest: int = 0, forward: bool = True) -> Rule:
    """A string of bounded length."""

    def check(value: Any) -> Problem | None:
        if type(value) is str and shortest <= len(value) <= longest:
            return None
        return "", f"must be a string of {shortest} to {longest} characters"

    schema: Schema = {"type": "string", "maxLength": longest}
    if shortest:
        schema["minLength"] = shortest
    return Rule(check, _document(schema, note), forward)


def one_of(*values: str, note: str = "", forward: bool = True) -> Rule:
    """One of a few strings."""

    def check(value: Any) -> Problem | None:
        if type(value) is str and value in values:
            return None
        return "", "must be one of " + ", ".join(f"`{each}`" for each in values)

    return Rule(check, _document({"type": "string", "enum": list(values)}, note), forward)


def array(item: Rule, most: int, note: str = "", *, least: int = 0) -> Rule:
    """A list whose every item keeps a rule."""
    inner = item.check

    def check(value: Any) -> Problem | None:
        if type(value) is not list or not least <= len(value) <= most:
            return "", f"must be a list of {least} to {most} items"
        for position, each in enumerate(value):
            problem = inner(each)
            if problem is not None:
                return f"[{position}]{problem[0]}", problem[1]
        return None

    schema: Schema = {"type": "array", "items": item.schema, "maxItems": most}
    if least:
        schema["minItems"] = least
    return Rule(check, _document(schema, note))


def mapping(fields: Mapping[str, Rule], note: str = "", *, required: tuple[str, ...] = ()) -> Rule:
    """An object of known fields; others are refused by name."""

    def check(value: Any) -> Problem | None:
        if type(value) is not dict:
            return "", "must be an object"
        for name in required:
            if name not in value:
                return f".{name}", "is required"
        for name, each in value.items():
            rule = fields.get(name)
            if rule is None:
                return f".{name[:64]}", "is not a known field"
            if each is not None:
                problem = rule.check(each)
                if problem is not None:
                    return f".{name}{problem[0]}", problem[1]
        return None

    schema: Schema = {
        "type": "object",
        "properties": {name: rule.schema for name, rule in fields.items()},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = list(required)
    return Rule(check, _document(schema, note))


def either(why: str, *rules: Rule, note: str = "") -> Rule:
    """Any one of several rules; `why` ends the sentence when none fits."""
    checks = [rule.check for rule in rules]

    def check(value: Any) -> Problem | None:
        for each in checks:
            if each(value) is None:
                return None
        return "", why

    return Rule(check, _document({"anyOf": [rule.schema for rule in rules]}, note))


def only(value: object, why: str, *, forward: bool = False) -> Rule:
    """A field that is known but can only hold the value which changes nothing."""

    def check(given: Any) -> Problem | None:
        return None if given == value and type(given) is type(value) else ("", why)

    return Rule(check, {"const": value, "description": why}, forward)


def refused(why: str) -> Rule:
    """A field that is known and not offered. Absent and null are the same, so null passes."""

    def check(value: Any) -> Problem | None:
        return "", why

    return Rule(check, {"type": "null", "description": why})


def ignored(rule: Rule) -> Rule:
    """A label without effect on the answer: checked, then dropped."""
    return Rule(rule.check, rule.schema, forward=False)
