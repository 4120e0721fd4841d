"""Bodies of administrative requests: read within a bound, checked, named in errors."""

from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from slipway.gateway.apis import head_of
from slipway.gateway.errors import APIError, invalid_request
from slipway.gateway.requests import LeftError, parse, read_body

M = TypeVar("M", bound=BaseModel)
LARGEST = 262_144
"""Bytes of a body."""
SLOWEST = 10.0
"""Seconds that it may take."""


async def read_object(request: Request, *, empty: bool = False) -> dict[str, Any]:
    """The JSON object in the body; `empty`: nothing stands for `{}`. Raises APIError 400, 408, 413."""
    head = head_of(request)
    try:
        data = await read_body(head, request.receive, LARGEST, SLOWEST, ready=False)
    except LeftError:
        raise invalid_request("The body ended before it was complete.") from None
    return {} if empty and not data else parse(head, data)


def changed(model: type[M], there: M, body: dict[str, Any]) -> M:
    """`there` with the fields in `body`; null gives a field its default. Raises APIError 400."""
    fields = {field.alias or name for name, field in model.model_fields.items()}
    for name in body:
        if name not in fields:
            raise _unknown(name)
    merged = {**there.model_dump(mode="json", by_alias=True, exclude_none=True), **body}
    return checked(model, {name: value for name, value in merged.items() if value is not None})


def checked(model: type[M], body: dict[str, Any]) -> M:
    """`body` as a model. Raises APIError 400 that names the field."""
    try:
        return model.model_validate_json(orjson.dumps(body), by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise _unknown(where) from None
        why = first["msg"].removeprefix("Value error, ")
        raise invalid_request(f"`{where}`: {why}.", where) from None
    except TypeError:
        raise invalid_request("The body is nested too deeply.", code="invalid_json") from None


def _unknown(name: str) -> APIError:
    return invalid_request(f"`{name[:64]}` is not a field of this.", name[:64], "unknown_parameter")
