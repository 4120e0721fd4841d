"""Content blocks of a message: which there are, what they may hold, what becomes of them in a chat."""

from typing import Any

import orjson

from slipway.gateway.chat.turns import Part, Turns
from slipway.gateway.rules import Problem, Rule

_REMOTE = "must be `base64`: this server fetches nothing on a client's behalf and keeps no such files"
_FIELDS = {
    "text": {"text", "citations"},
    "image": {"source", "transformations"},
    "document": {"source", "title", "context", "citations"},
    "tool_use": {"id", "name", "input", "caller", "toolset_name"},
    "tool_result": {"tool_use_id", "content", "is_error", "toolset_name"},
    "tool_reference": {"tool_name"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
}
"""By type, besides `type` and `cache_control`; what asks nothing of an answer is without effect."""
_BY_ROLE = {
    "user": ("text", "image", "document", "tool_result"),
    "assistant": ("text", "thinking", "redacted_thinking", "tool_use"),
    "system": ("text",),
    "tool_result": ("text", "image", "document", "tool_reference"),
}
_STRINGS = {
    "text": ("text",),
    "tool_use": ("id", "name"),
    "tool_result": ("tool_use_id",),
    "tool_reference": ("tool_name",),
    "thinking": ("thinking",),
    "redacted_thinking": ("data",),
}
ATTRIBUTION = "x-anthropic-billing-header"
"""Coding agents begin a system block so. It changes with every release and is for Anthropic's accounts:
models do not see it, and equal prompts stay equal for the prefix cache."""


def blocks(content: Any, place: str) -> Problem | None:
    """What is wrong with the content of a message with role `place` (or of a `tool_result`)."""
    if type(content) is str:
        return None
    if type(content) is not list:
        return "", "must be a string or a list of blocks"
    for position, block in enumerate(content):
        problem = _block(block, place)
        if problem is not None:
            return f"[{position}]{problem[0]}", problem[1]
    return None


def _block(block: Any, place: str) -> Problem | None:
    if type(block) is not dict:
        return "", "must be an object"
    kind = block.get("type")
    if kind not in _BY_ROLE[place]:
        return ".type", "must be one of " + ", ".join(f"`{each}`" for each in _BY_ROLE[place])
    for name in block:
        if name not in ("type", "cache_control") and name not in _FIELDS[kind]:
            return f".{name[:64]}", f"is not a known field of a `{kind}` block"
    for name in _STRINGS.get(kind, ()):
        if type(block.get(name)) is not str:
            return f".{name}", "must be a string"
    if kind == "tool_use" and type(block.get("input")) is not dict:
        return ".input", "must be an object"
    if kind == "tool_result" and block.get("content") is not None:
        problem = blocks(block["content"], "tool_result")
        return (f".content{problem[0]}", problem[1]) if problem else None
    if kind == "image":
        return _source(block.get("source"), {"base64": ("media_type", "data")}, _REMOTE)
    if kind == "document":
        if (block.get("citations") or {}).get("enabled"):
            return ".citations", "is not offered"
        return _source(
            block.get("source"), {"text": ("data",)}, "must be `text`: other documents are not read"
        )
    return None


def _source(source: Any, kinds: dict[str, tuple[str, ...]], otherwise: str) -> Problem | None:
    if type(source) is not dict:
        return ".source", "must be an object"
    needed = kinds.get(source.get("type") or "")
    if needed is None:
        return ".source.type", otherwise
    for name in source:
        if name not in ("type", "media_type", "data"):
            return f".source.{name[:64]}", "is not a known field"
    for name in needed:
        if type(source.get(name)) is not str:
            return f".source.{name}", "must be a string"
    return None


def _message(message: Any) -> Problem | None:
    if type(message) is not dict:
        return "", "must be an object"
    role = message.get("role")
    if role not in ("user", "assistant", "system"):
        return ".role", "must be one of `user`, `assistant`, `system`"
    for name in message:
        if name not in ("role", "content"):
            return f".{name[:64]}", "is not a known field of a message"
    problem = blocks(message.get("content"), role)
    return (f".content{problem[0]}", problem[1]) if problem else None


MESSAGE = Rule(_message, {"$ref": "#/components/schemas/AnthropicMessage"})
SYSTEM = Rule(
    lambda value: blocks(value, "system"),
    {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"$ref": "#/components/schemas/AnthropicText"}},
        ],
        "description": "What the operator says: text, or text blocks.",
    },
)


def tell(turns: Turns, message: dict[str, Any]) -> None:
    """Add a checked message to a chat."""
    role, content = message["role"], message["content"]
    if type(content) is str:
        content = [{"type": "text", "text": content}]
    if role == "system":
        turns.system(system_text(content))
    elif role == "assistant":
        _tell_assistants(turns, content)
    else:
        _tell_users(turns, content)


def system_text(content: str | list[dict[str, Any]]) -> str:
    """The text of system blocks, but for the attribution of coding agents."""
    if type(content) is str:
        return content
    texts = (block["text"] for block in content)  # type: ignore[index]
    return "\n\n".join(text for text in texts if text and not text.startswith(ATTRIBUTION))


def _tell_assistants(turns: Turns, content: list[dict[str, Any]]) -> None:
    for block in content:
        kind = block["type"]
        if kind == "text":
            turns.assistant(block["text"])
        elif kind == "thinking":
            turns.reasoning(block["thinking"])
        elif kind == "tool_use":
            turns.call(block["id"], block["name"], orjson.dumps(block["input"]).decode())
        # Redacted thinking is of other models and cannot be read.


def _tell_users(turns: Turns, content: list[dict[str, Any]]) -> None:
    parts: list[Part] = []
    for block in content:
        if block["type"] == "tool_result":
            given = block.get("content") or ""
            inner = [{"type": "text", "text": given}] if type(given) is str else given
            text = "\n".join(part["text"] for part in map(_part, inner) if part["type"] == "text")
            turns.result(block["tool_use_id"], f"Error: {text}" if block.get("is_error") else text)
            parts.extend(part for part in map(_part, inner) if part["type"] != "text")
        else:
            parts.append(_part(block))
    turns.user(parts)


def _part(block: dict[str, Any]) -> Part:
    kind = block["type"]
    if kind == "image":
        source = block["source"]
        return {
            "type": "image_url",
            "image_url": {"url": f"data:{source['media_type']};base64,{source['data']}"},
        }
    if kind == "document":
        title = f"{block['title']}\n" if block.get("title") else ""
        context = f"{block['context']}\n" if block.get("context") else ""
        return {"type": "text", "text": f"<document>\n{title}{context}{block['source']['data']}\n</document>"}
    if kind == "tool_reference":
        return {"type": "text", "text": block["tool_name"]}
    return {"type": "text", "text": block["text"]}


_CACHE = {"cache_control": {"type": ["object", "null"]}}
TEXT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "text"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "text"},
        "text": {"type": "string"},
        "citations": {"type": ["array", "null"]},
        **_CACHE,
    },
}


def _schema(kind: str, required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", *required],
        "additionalProperties": False,
        "properties": {"type": {"const": kind}, **properties, **_CACHE},
    }


_STRING = {"type": "string"}
_IMAGE = {
    "type": "object",
    "required": ["type", "media_type", "data"],
    "additionalProperties": False,
    "properties": {"type": {"const": "base64"}, "media_type": _STRING, "data": _STRING},
}
_PLAIN = {
    "type": "object",
    "required": ["type", "data"],
    "additionalProperties": False,
    "properties": {"type": {"const": "text"}, "media_type": _STRING, "data": _STRING},
}
_SHOWN = [
    {"$ref": "#/components/schemas/AnthropicText"},
    _schema("image", ("source",), source=_IMAGE),
    _schema("document", ("source",), source=_PLAIN, title=_STRING, context=_STRING),
]


def _message_schema(role: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    content = {"anyOf": [_STRING, {"type": "array", "items": {"anyOf": items}}]}
    return {
        "type": "object",
        "required": ["role", "content"],
        "additionalProperties": False,
        "properties": {"role": {"const": role}, "content": content},
    }


MESSAGE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        _message_schema(
            "user",
            [
                *_SHOWN,
                _schema(
                    "tool_result",
                    ("tool_use_id",),
                    tool_use_id=_STRING,
                    is_error={"type": "boolean"},
                    content={
                        "anyOf": [
                            _STRING,
                            {
                                "type": "array",
                                "items": {
                                    "anyOf": [
                                        *_SHOWN,
                                        _schema("tool_reference", ("tool_name",), tool_name=_STRING),
                                    ]
                                },
                            },
                        ]
                    },
                ),
            ],
        ),
        _message_schema(
            "assistant",
            [
                {"$ref": "#/components/schemas/AnthropicText"},
                _schema("thinking", ("thinking",), thinking=_STRING, signature=_STRING),
                _schema("redacted_thinking", ("data",), data=_STRING),
                _schema(
                    "tool_use", ("id", "name", "input"), id=_STRING, name=_STRING, input={"type": "object"}
                ),
            ],
        ),
        _message_schema("system", [{"$ref": "#/components/schemas/AnthropicText"}]),
    ],
    "description": "A turn. Images only as base64; a system message after the first turn goes to the model "
    "in the user's turn.",
}
