"""Parts that every section of the OpenAPI document is made of: references, objects, pages, errors."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
ID: Schema = {
    "x-request-id": {"schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}, "required": True}
}
"""Headers of every answer."""
AGAIN: Schema = {
    "retry-after": {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": True},
    "retry-after-ms": {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": True},
}
"""Headers of an answer that says when to try again."""
SECURED: list[Schema] = [{"bearer": []}, {"apiKey": []}]
ERRORS = {
    400: "The request is wrong; `param` names the field.",
    401: "The key is missing or not valid.",
    404: "The model does not exist, or the key may not use it.",
    408: "The request did not arrive in time.",
    413: "The body is too large.",
    429: "A limit of the key is reached; `Retry-After` says when to try again.",
    431: "The request's head is too large.",
    500: "The gateway failed.",
    502: "The engine failed.",
    503: "The model is not ready, or everything is busy; `Retry-After` says when to try again.",
    504: "The engine did not answer in time.",
}


def ref(name: str) -> Schema:
    """Stands for a schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def in_json(schema: Schema) -> Schema:
    """The content of a body that is JSON."""
    return {"application/json": {"schema": schema}}


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def record(properties: Mapping[str, Schema], **more: Schema) -> Schema:
    """An object with all of these fields and no other."""
    fields = {**properties, **more}
    return {
        "type": "object",
        "required": list(fields),
        "properties": fields,
        "additionalProperties": False,
    }


def listed(item: Schema) -> Schema:
    """A page of a list, as `apis.page` makes it."""
    return record(
        {
            "object": {"const": "list"},
            "data": {"type": "array", "items": item},
            "first_id": nullable(STRING),
            "last_id": nullable(STRING),
            "has_more": BOOLEAN,
        }
    )


def error(status: int, shape: str = "Error", meanings: Mapping[int, str] = ERRORS) -> Schema:
    """An answer that is not a success."""
    headers = {**ID, **(AGAIN if status in (429, 503) else {})}
    return {"description": meanings[status], "headers": headers, "content": in_json(ref(shape))}
