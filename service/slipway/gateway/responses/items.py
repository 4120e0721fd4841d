"""Items of a Responses conversation: which there are, what they may hold, what becomes of them in a chat."""

from typing import Any

import orjson

from slipway.gateway.chat.ids import new_id
from slipway.gateway.chat.turns import Part, Turns
from slipway.gateway.rules import Problem, Rule

Item = dict[str, Any]

_FETCHES = "must be a `data:` URL: this server fetches nothing on a client's behalf"
_ROLES = ("user", "system", "developer", "assistant")
_FIELDS = {
    "message": {"id", "role", "content", "status", "phase"},
    "function_call": {"id", "call_id", "name", "arguments", "status", "namespace", "caller", "async"},
    "function_call_output": {"id", "call_id", "output", "status", "name", "namespace", "caller"},
    "custom_tool_call": {"id", "call_id", "name", "input", "status", "namespace", "caller", "async"},
    "custom_tool_call_output": {"id", "call_id", "output", "status", "name", "namespace", "caller"},
    "reasoning": {"id", "summary", "content", "encrypted_content", "status"},
}
"""By type, besides `type`."""
_STRINGS = {
    "function_call": ("call_id", "name", "arguments"),
    "custom_tool_call": ("call_id", "name", "input"),
    "function_call_output": ("call_id",),
    "custom_tool_call_output": ("call_id",),
}
_PARTS = {
    "input_text": ("text",),
    "output_text": ("text", "annotations", "logprobs"),
    "refusal": ("refusal",),
    "input_image": ("image_url", "detail", "file_id"),
    "input_audio": ("input_audio",),
}
_GIVEN = ("input_text", "input_image", "input_audio")
_SAID = ("output_text", "refusal", "input_text")
_PREFIX = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
}
CUSTOM_INPUT = "input"
"""The one field of the function as which a custom tool, which takes plain text, is shown to the model."""


def _item(item: Any) -> Problem | None:
    if type(item) is not dict:
        return "", "must be an object"
    kind = item.get("type") or "message"
    known = _FIELDS.get(kind) if type(kind) is str else None
    if known is None:
        return (
            ".type",
            f"can be {', '.join(f'`{each}`' for each in _FIELDS)}; `{str(kind)[:64]}` is not offered",
        )
    for name in item:
        if name != "type" and name not in known:
            return f".{name[:64]}", f"is not a known field of a `{kind}` item"
    for name in _STRINGS.get(kind, ()):
        if type(item.get(name)) is not str:
            return f".{name}", "must be a string"
    for name in ("id", "status", "namespace"):
        if item.get(name) is not None and (type(item[name]) is not str or len(item[name]) > 128):
            return f".{name}", "must be a string of at most 128 characters"
    if kind == "message":
        return _message(item)
    if kind == "reasoning":
        return _reasoning(item)
    if kind.endswith("_output"):
        return _content(item.get("output"), ".output", _GIVEN)
    return None


def _message(item: Item) -> Problem | None:
    role = item.get("role")
    if role not in _ROLES:
        return ".role", "must be one of " + ", ".join(f"`{each}`" for each in _ROLES)
    return _content(item.get("content"), ".content", _SAID if role == "assistant" else _GIVEN)


def _reasoning(item: Item) -> Problem | None:
    if item.get("encrypted_content"):
        return ".encrypted_content", "cannot be read here: it was made by another server"
    for name in ("summary", "content"):
        parts = item.get(name) or []
        if type(parts) is not list or any(
            type(part) is not dict or type(part.get("text")) is not str for part in parts
        ):
            return f".{name}", "must be a list of parts with `text`"
    return None


def _content(content: Any, where: str, kinds: tuple[str, ...]) -> Problem | None:
    if type(content) is str:
        return None
    if type(content) is not list:
        return where, "must be a string or a list of parts"
    for position, part in enumerate(content):
        problem = _part(part, kinds)
        if problem is not None:
            return f"{where}[{position}]{problem[0]}", problem[1]
    return None


def _part(part: Any, kinds: tuple[str, ...]) -> Problem | None:
    if type(part) is not dict:
        return "", "must be an object"
    kind = part.get("type")
    if kind not in kinds:
        return ".type", "must be one of " + ", ".join(f"`{each}`" for each in kinds)
    known = _PARTS[kind]
    for name in part:
        if name != "type" and name not in known:
            return f".{name[:64]}", f"is not a known field of an `{kind}` part"
    if kind == "input_image":
        if part.get("file_id") is not None:
            return ".file_id", "is not offered; send the image as a `data:` URL"
        url = part.get("image_url")
        return None if type(url) is str and url.startswith("data:") else (".image_url", _FETCHES)
    if kind == "input_audio":
        audio = part.get("input_audio")
        if not isinstance(audio, dict) or set(audio) != {"data", "format"}:
            return ".input_audio", "must hold `data` and `format`"
        wrong = any(type(each) is not str for each in audio.values())
        return (".input_audio", "must hold strings") if wrong else None
    return None if type(part.get(known[0])) is str else (f".{known[0]}", "must be a string")


ITEM = Rule(_item, {"$ref": "#/components/schemas/ResponseItem"})


def normal(given: str | list[Item]) -> list[Item]:
    """Checked input as items to be kept and listed: with `type`, `id` and `status`, content in parts."""
    if type(given) is str:
        given = [{"role": "user", "content": given}]
    items: list[Item] = []
    for item in given:
        assert isinstance(item, dict)  # noqa: S101 - checked before
        kind = item.get("type") or "message"
        whole = {name: value for name, value in item.items() if value is not None}
        whole |= {"type": kind, "id": item.get("id") or new_id(_PREFIX[kind])}
        whole["status"] = item.get("status") or "completed"
        if kind == "message" and type(item["content"]) is str:
            said = {"type": "output_text", "text": item["content"], "annotations": []}
            asked = {"type": "input_text", "text": item["content"]}
            whole["content"] = [said if item["role"] == "assistant" else asked]
        items.append(whole)
    return items


def tell(turns: Turns, item: Item) -> None:
    """Add an item to a chat."""
    match item["type"]:
        case "message":
            _tell_message(turns, item)
        case "reasoning":
            turns.reasoning(
                "".join(part["text"] for part in item.get("content") or item.get("summary") or ())
            )
        case "function_call":
            turns.call(item["call_id"], flat_name(item), item["arguments"])
        case "custom_tool_call":
            turns.call(item["call_id"], flat_name(item), orjson.dumps({CUSTOM_INPUT: item["input"]}).decode())
        case _:
            given = item["output"]
            shown = [{"type": "text", "text": given}] if type(given) is str else list(map(_chat_part, given))
            turns.result(item["call_id"], "\n".join(part["text"] for part in shown if part["type"] == "text"))
            turns.user([part for part in shown if part["type"] != "text"])


def flat_name(item: Item) -> str:
    """A tool's name as the model sees it: one of a namespace has that in front."""
    return f"{item['namespace']}__{item['name']}" if item.get("namespace") else str(item["name"])


def _tell_message(turns: Turns, item: Item) -> None:
    parts = [_chat_part(part) for part in item["content"]]
    if item["role"] == "user":
        turns.user(parts)
        return
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    if item["role"] == "assistant":
        turns.assistant(text)
    else:
        turns.system(text)


def _chat_part(part: dict[str, Any]) -> Part:
    kind = part["type"]
    if kind == "input_image":
        url = {"url": part["image_url"]}
        if part.get("detail"):
            url["detail"] = part["detail"]
        return {"type": "image_url", "image_url": url}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part["input_audio"]}
    return {"type": "text", "text": part["refusal" if kind == "refusal" else "text"]}


_STRING = {"type": "string"}


def _schema(kind: str, required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", *required],
        "additionalProperties": False,
        "properties": {"type": {"const": kind}, **properties},
    }


_TEXT_PART = _schema("input_text", ("text",), text=_STRING)
_SHOWN_PARTS = {
    "anyOf": [
        _STRING,
        {
            "type": "array",
            "items": {
                "anyOf": [
                    _TEXT_PART,
                    _schema(
                        "input_image",
                        ("image_url",),
                        image_url={"type": "string", "pattern": "^data:"},
                        detail=_STRING,
                    ),
                ]
            },
        },
    ]
}
_SAID_PARTS = {
    "anyOf": [
        _STRING,
        {
            "type": "array",
            "items": {
                "anyOf": [
                    _schema("output_text", ("text",), text=_STRING, annotations={"type": "array"}),
                    _schema("refusal", ("refusal",), refusal=_STRING),
                ]
            },
        },
    ]
}
_KEPT = {
    "id": {"type": ["string", "null"], "maxLength": 128},
    "status": {"type": ["string", "null"], "maxLength": 128},
}
_CALLED = {**_KEPT, "namespace": {"type": ["string", "null"], "maxLength": 128}}


def _message_schema(roles: list[str], content: dict[str, Any]) -> dict[str, Any]:
    schema = _schema("message", ("role", "content"), role={"enum": roles}, content=content, **_KEPT)
    return {**schema, "required": ["role", "content"]}


ITEM_SCHEMA: dict[str, Any] = {
    "anyOf": [
        _message_schema(["user", "system", "developer"], _SHOWN_PARTS),
        _message_schema(["assistant"], _SAID_PARTS),
        _schema(
            "function_call",
            ("call_id", "name", "arguments"),
            call_id=_STRING,
            name=_STRING,
            arguments=_STRING,
            **_CALLED,
        ),
        _schema("function_call_output", ("call_id", "output"), call_id=_STRING, output=_SHOWN_PARTS, **_KEPT),
        _schema(
            "custom_tool_call",
            ("call_id", "name", "input"),
            call_id=_STRING,
            name=_STRING,
            input=_STRING,
            **_CALLED,
        ),
        _schema(
            "custom_tool_call_output", ("call_id", "output"), call_id=_STRING, output=_SHOWN_PARTS, **_KEPT
        ),
        _schema(
            "reasoning",
            (),
            summary={
                "type": "array",
                "items": {"type": "object", "required": ["text"], "properties": {"text": _STRING}},
            },
            content={
                "type": "array",
                "items": {"type": "object", "required": ["text"], "properties": {"text": _STRING}},
            },
            encrypted_content={"type": ["string", "null"], "maxLength": 0},
            **_KEPT,
        ),
    ],
    "description": "A message, a tool call, its output, or thoughts; images only as `data:` URLs.",
}
