"""Answers that cannot be made because the request allows none: the client's mistake, told as an engine's.

vLLM refuses schemas and grammars that it cannot read with 400. One that it can read and that allows no text
(`{"$ref": "#"}`, `root ::= root "a"`), or none any more after the tokens so far, ends the request with a
plain 500, or in a stream with an error event, while the engine is well. It uses the same words for other
faults of one request, and none of its own for its end, so they are taken so only where there is a constraint.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from slipway.gateway.relay.transport import UpstreamError

_WORDS = {"message": "Internal server error", "type": "InternalServerError", "code": 500}
"""Of vLLM 0.32's GenerationError."""


class UnsatisfiableError(UpstreamError):
    """The engine found no token that the request's constraint allows; `param` is the field that holds it."""

    def __init__(self, param: str) -> None:
        super().__init__(f"no answer fits `{param}`")
        self.param = param


def constraint_of(body: Mapping[str, Any]) -> str | None:
    """The field of a request that says which texts may be answered at all."""
    if body.get("structured_outputs") is not None:
        return "structured_outputs"
    wanted = body.get("response_format")
    if type(wanted) is dict and wanted.get("type") == "json_schema":
        return "response_format"
    choice = body.get("tool_choice")
    return "tools" if choice == "required" or type(choice) is dict else None


def ended_alone(error: object) -> bool:
    """Whether an engine's `error` says that one request has failed, and not the engine."""
    return isinstance(error, dict) and all(error.get(name) == value for name, value in _WORDS.items())


def ended_alone_in(body: bytes) -> bool:
    """The same of an answer's body."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and ended_alone(document.get("error"))
