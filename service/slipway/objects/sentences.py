"""pydantic's errors as sentences that say what to write instead."""

from typing import Any

from slipway.objects.datasets import DATA_SOURCE
from slipway.objects.scalars import Duration, Factor, Fraction, Number, Pause, Quantity
from slipway.objects.sources import MODEL_SOURCE, SOURCE

_TYPES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list (lines that begin with `- `)",
    "list_type": "a list (lines that begin with `- `)",
    "dict_type": "a mapping (`name: value`)",
    "model_type": "a mapping (`name: value`)",
    "model_attributes_type": "a mapping (`name: value`)",
}
_PATTERNS = {
    SOURCE: (
        "a source: file:///path, hf://org/name@revision, s3://bucket/prefix, pypi://package/file or"
        " registry+https://host/name/version"
    ),
    MODEL_SOURCE: (
        "a source: file:///path, hf://org/name@revision, s3://bucket/prefix, pypi://package/file,"
        " registry+https://host/name/version or, on a cluster, pvc://claim/path"
    ),
    DATA_SOURCE: (
        "a source: file:///path, hf://org/name@revision, s3://bucket/prefix, pypi://package/file, a file by"
        " https:// or, on a cluster, pvc://claim/path"
    ),
    Duration.pattern: "a duration: hours, minutes and seconds such as 30s, 5m or 1h30m",
    Pause.pattern: "a pause: a duration such as 30s, 5m or 1h30m, or manual",
    Fraction.pattern: 'a share from 0 to 1, in quotes: "0.05"',
    Factor.pattern: 'a factor of at least 1, in quotes: "1.5"',
    Number.pattern: 'a decimal in quotes: "0.5" or "2e-4"',
    Quantity.pattern: "an amount: digits and perhaps a unit, such as 2, 500m or 24Gi",
    r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$": "a model name: letters, digits and . _ : / -, a letter or digit first",
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": (
        "a name: lower case letters, digits, - and ., a letter or digit first and last"
    ),
    r"^[0-9a-f]{64}$": "a SHA-256 in hex (64 digits)",
}


def sentence(error: dict[str, Any], raw: str | None) -> str:
    """What is wrong and how to mend it.

    `error` is one of pydantic's error dictionaries; `raw` the value as it is written, None where it is a list
    or a mapping.
    """
    kind, context = str(error["type"]), error.get("ctx") or {}
    here = f"`{raw}`" if raw else "nothing" if raw == "" or error.get("input") is None else "this"
    if kind in _TYPES:
        mend = ""
        if kind == "string_type" and raw:
            mend = f'; write "{raw}" with quotes'
        elif (
            raw is not None
            and isinstance(error.get("input"), str)
            and kind.startswith(("int", "float", "bool"))
        ):
            mend = "; a number or true and false are written without quotes"
        return f"wants {_TYPES[kind]}, not {here}{mend}"
    if kind == "literal_error":
        return f"{here} is not allowed; allowed: {_alternatives(context.get('expected'))}"
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        return f"{here} is not {_PATTERNS.get(pattern, f'of the form {pattern}')}"
    if kind == "greater_than_equal":
        return f"{here} is too small; at least {context.get('ge')}"
    if kind == "less_than_equal":
        return f"{here} is too large; at most {context.get('le')}"
    if kind == "string_too_long":
        return f"is too long; at most {context.get('max_length')} characters"
    if kind == "string_too_short":
        return f"is too short; at least {context.get('min_length')} characters"
    if kind == "timezone_aware":
        return f"{here} has no time zone; write it as 2030-01-31T00:00:00Z"
    if kind.startswith(("datetime_", "date_")):
        return f"{here} is not a time; write it as 2030-01-31T00:00:00Z"
    if kind == "value_error":
        return str(context.get("error") or error["msg"])
    return f"{here}: {error['msg']}"


def _alternatives(expected: object) -> str:
    return str(expected).replace("'", "").replace(" or ", ", ")
