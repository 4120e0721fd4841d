"""What the OpenAPI document says of Responses and Messages beside the fields of their requests."""

from slipway.gateway.messages.blocks import MESSAGE_SCHEMA, TEXT_SCHEMA
from slipway.gateway.openapi_parts import INTEGER, STRING, Schema, listed
from slipway.gateway.responses.fields import tool
from slipway.gateway.responses.items import ITEM_SCHEMA
from slipway.gateway.settings import GatewaySettings

_RESPONSE: Schema = {
    "type": "object",
    "required": ["id", "object", "created_at", "status", "model", "output", "usage", "error"],
    "properties": {
        "id": STRING,
        "object": {"const": "response"},
        "created_at": INTEGER,
        "status": {"enum": ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]},
        "model": STRING,
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
                        "input_tokens": INTEGER,
                        "output_tokens": INTEGER,
                        "total_tokens": INTEGER,
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
        "id": STRING,
        "type": {"const": "message"},
        "role": {"const": "assistant"},
        "model": STRING,
        "content": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["type"]}},
        "stop_reason": {"enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use"]},
        "stop_sequence": {"type": ["string", "null"]},
        "usage": {
            "type": "object",
            "required": ["input_tokens", "output_tokens"],
            "properties": {"input_tokens": INTEGER, "output_tokens": INTEGER},
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
            "properties": {"type": STRING, "message": STRING},
        },
    },
}
_COUNT: Schema = {
    "type": "object",
    "required": ["input_tokens"],
    "properties": {"input_tokens": INTEGER},
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
            **({"event": STRING} if named else {}),
        },
        "description": description,
    }
    return {"text/event-stream": {"itemSchema": item}}


_NAMED: Schema = {"type": "object", "required": ["type"], "properties": {"type": STRING}}
STREAMS: dict[str, Schema] = {
    "/v1/responses": events(
        "With `stream: true`: OpenAI's events of a response, numbered; the last one is "
        "`response.completed`, `response.incomplete` or `response.failed`.",
        {
            **_NAMED,
            "required": ["type", "sequence_number"],
            "properties": {"type": STRING, "sequence_number": INTEGER},
        },
        named=True,
    ),
    "/v1/messages": events(
        "With `stream: true`: Anthropic's events of a message; the last one is `message_stop` or `error`.",
        _NAMED,
        named=True,
    ),
}
LIST = listed({"type": "object", "required": ["id", "type"]})
DELETED: Schema = {
    "type": "object",
    "required": ["id", "object", "deleted"],
    "properties": {"id": STRING, "object": {"const": "response"}, "deleted": {"const": True}},
}
