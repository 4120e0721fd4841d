"""Rules over several fields, as an API server checks them: CEL expressions with sentences that say the mend.

A model that has such a rule checks it in a validator of its own too, so that files are refused with the same
words where there is no API server.
"""

from typing import Any

from pydantic import ConfigDict

VALIDATIONS = "x-kubernetes-validations"


def rules(*rules: tuple[str, str]) -> ConfigDict:
    """A model's rules: each a CEL expression over `self`, and the sentence for objects that break it."""
    return ConfigDict(json_schema_extra=extra(*rules))


def extra(*rules: tuple[str, str]) -> dict[str, Any]:
    """The same for the JSON schema of a single field."""
    return {VALIDATIONS: [{"rule": rule, "message": message} for rule, message in rules]}


def named_by(field: str) -> dict[str, Any]:
    """For the JSON schema of a list whose items are told apart by `field`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [field]}
