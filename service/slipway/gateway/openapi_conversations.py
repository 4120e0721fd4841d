"""What the OpenAPI document says of Responses and Messages beside the fields of their requests."""

from typing import Any

from slipway.gateway.messages.blocks import MESSAGE_SCHEMA, TEXT_SCHEMA
from slipway.gateway.responses.fields import tool
from slipway.gateway.responses.items import ITEM_SCHEMA
from slipway.gateway.settings import GatewaySettings

Schema = dict[str, Any]

_INTEGER = {"type": "integer"}
_STRING = {"type": "string"}
_RESPONSE: Schema = {
    "type": "object",
    "required": ["id", "object", "created_at", "status", "model", "output", "usage", "error"],
    "properties": {
        "id": _STRING,
        "object": {"const": "response"},
        "created_at": _INTEGER,
        "status": {"enum": ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]},
        "model": _STRING,
        "output": {"type": "array", "items": {"type": "object", "required": ["type", "id"]}},
        "previous_response_id": {"type": ["string", "null"]},
        "error": {
            "anyOf": [
                {"type": "null"},
                {"type": "object", "required": ["code", "message"]},
            ]
        },
        "usage": {
            "anyOf": [
                {"type": "null"},
                {
                    "type": "object",
                    "required": ["input_tokens", "output_tokens", "total_tokens"],
                    "properties": {
                        "input_tokens": _INTEGER,
                        "output_tokens": _INTEGER,
                        "total_tokens": _INTEGER,
                    },
                },
            ]
        },
    },
}
_MESSAGE: Schema = {
    "type": "object",
    "required": ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"],
    "properties": {
        "id": _STRING,
        "type": {"const": "message"},
        "role": {"const": "assistant"},
        "model": _STRING,
        "content": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["type"]}},
        "stop_reason": {"enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use"]},
        "stop_sequence": {"type": ["string", "null"]},
        "usage": {
            "type": "object",
            "required": ["input_tokens", "output_tokens"],
            "properties": {"input_tokens": _INTEGER, "output_tokens": _INTEGER},
        },
    },
}
_ERROR: Schema = {
    "type": "object",
    "required": ["type", "error"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "additionalProperties": False,
            "properties": {"type": _STRING, "message": _STRING},
        },
    },
}
_COUNT: Schema = {
    "type": "object",
    "required": ["input_tokens"],
    "properties": {"input_tokens": _INTEGER},
}

COMPONENTS: dict[str, Schema] = {
    "Response": _RESPONSE,
    "ResponseItem": ITEM_SCHEMA,
    "ResponseTool": tool(GatewaySettings.model_construct()).schema,  # It holds none of the settings' bounds.
    "AnthropicError": _ERROR,
    "AnthropicMessage": MESSAGE_SCHEMA,
    "AnthropicText": TEXT_SCHEMA,
}
ANSWERS: dict[str, Schema] = {
    "/v1/responses": {"$ref": "#/components/schemas/Response"},
    "/v1/responses/input_tokens": _COUNT,
    "/v1/messages": _MESSAGE,
    "/v1/messages/count_tokens": _COUNT,
}


def events(description: str, payload: Schema, *, named: bool, end: str | None = None) -> Schema:
    """What a stream holds, as OpenAPI 3.2 says it: the schema of one event.

    `payload` is the schema of its JSON, `named` whether events have names, `end` the data of the last one.
    """
    data: Schema = {"type": "string", "contentMediaType": "application/json", "contentSchema": payload}
    item = {
        "type": "object",
        "required": ["event", "data"] if named else ["data"],
        "properties": {
            "data": data if end is None else {"anyOf": [{"const": end}, data]},
            **({"event": _STRING} if named else {}),
        },
        "description": description,
    }
    return {"text/event-stream": {"itemSchema": item}}


_NAMED: Schema = {"type": "object", "required": ["type"], "properties": {"type": _STRING}}
STREAMS: dict[str, Schema] = {
    "/v1/responses": events(
        "With `stream: true`: OpenAI's events of a response, numbered; the last one is "
        "`response.completed`, `response.incomplete` or `response.failed`.",
        {
            **_NAMED,
            "required": ["type", "sequence_number"],
            "properties": {"type": _STRING, "sequence_number": _INTEGER},
        },
        named=True,
    ),
    "/v1/messages": events(
        "With `stream: true`: Anthropic's events of a message; the last one is `message_stop` or `error`.",
        _NAMED,
        named=True,
    ),
}
LIST: Schema = {
    "type": "object",
    "required": ["object", "data", "first_id", "last_id", "has_more"],
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"type": "object", "required": ["id", "type"]}},
        "first_id": {"type": ["string", "null"]},
        "last_id": {"type": ["string", "null"]},
        "has_more": {"type": "boolean"},
    },
}
DELETED: Schema = {
    "type": "object",
    "required": ["id", "object", "deleted"],
    "properties": {"id": _STRING, "object": {"const": "response"}, "deleted": {"const": True}},
}
ID: Schema = {
    "name": "response",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
}
FOLLOWING: list[Schema] = [
    {"name": "stream", "in": "query", "schema": {"type": "boolean"}},
    {
        "name": "starting_after",
        "in": "query",
        "schema": {"type": "integer", "minimum": -1, "maximum": 2**31 - 1},
    },
]
PAGING: list[Schema] = [
    {"name": "after", "in": "query", "schema": {"type": "string", "maxLength": 128}},
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100}},
    {"name": "order", "in": "query", "schema": {"type": "string", "enum": ["asc", "desc"]}},
]
