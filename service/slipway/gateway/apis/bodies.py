"""Bodies of administrative requests: read, checked, named in errors."""

from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from slipway.gateway.errors import invalid_request
from slipway.gateway.requests import read_head

M = TypeVar("M", bound=BaseModel)


def id_of(request: Request) -> str:
    """The request's id, for the audit log."""
    return read_head(request.scope["headers"]).request_id.decode()


async def read_object(request: Request, *, empty: bool = False) -> dict[str, Any]:
    """The JSON object in the body."""
    data = await request.body()
    if empty and not data:
        return {}
    try:
        body = await request.json()
    except ValueError:
        raise invalid_request("The body is not valid JSON.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise invalid_request("The body must be a JSON object.", code="invalid_json")
    return body


def checked(model: type[M], body: dict[str, Any]) -> M:
    """`body` as a model. Raises APIError 400 that names the field."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        known = first["type"] == "extra_forbidden"
        why = "is not a known field" if known else first["msg"].removeprefix("Value error, ")
        code = "unknown_parameter" if known else "invalid_value"
        raise invalid_request(f"`{where}`: {why}.", where, code) from None
