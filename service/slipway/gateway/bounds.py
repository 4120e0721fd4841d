"""Rules for the fields that can hurt an engine or its neighbours: schemas, patterns, media, templates."""

from typing import Any

from slipway.gateway import patterns
from slipway.gateway.rules import Problem, Rule, array, boolean, either, integer, mapping, one_of, text
from slipway.gateway.settings import GatewaySettings

_COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties")
_REMOTE = "must be a `data:` URL: this server fetches nothing on a client's behalf"


def json_schema(settings: GatewaySettings, note: str = "") -> Rule:
    """A JSON schema of bounded size, text, depth and pattern length (compiling one costs time and memory)."""

    def _pattern(pattern: str) -> str | None:
        return patterns.problem(pattern, settings.max_pattern, settings.max_repetitions)

    def check(value: Any) -> Problem | None:
        if type(value) is not dict:
            return "", "must be an object"
        nodes = characters = 0
        level: list[Any] = [value]
        for _ in range(settings.max_schema_depth):
            below: list[Any] = []
            for each in level:
                if type(each) is dict:
                    nodes += len(each)
                    characters += sum(map(len, each))
                    below.extend(each.values())
                    # Properties may have these names too, and then hold anything.
                    named = each.get("patternProperties")
                    for pattern in (each.get("pattern"), *(named if type(named) is dict else ())):
                        if type(pattern) is str and (why := _pattern(pattern)):
                            return "", why
                    for name in _COUNTS:
                        if type(count := each.get(name)) is int and count > settings.max_schema_count:
                            return "", f"holds `{name}` above {settings.max_schema_count}"
                elif type(each) is list:
                    nodes += len(each)
                    below.extend(each)
                elif type(each) is str:
                    characters += len(each)
                if nodes > settings.max_schema_nodes:
                    return "", f"holds more than {settings.max_schema_nodes} values"
                if characters > settings.max_schema_text:
                    return "", f"holds more than {settings.max_schema_text} characters"
            if not below:
                return None
            level = below
        return "", f"is nested deeper than {settings.max_schema_depth} levels"

    return Rule(check, {"type": "object", "description": note or "A JSON schema of bounded size and depth."})


def response_format(settings: GatewaySettings) -> Rule:
    """OpenAI's `response_format`; vLLM's structural tags are offered through `structured_outputs`."""
    kind = one_of("text", "json_object", "json_schema")
    named = mapping(
        {
            "name": text(64, shortest=1),
            "description": text(4096),
            "schema": json_schema(settings),
            "strict": boolean(),
        },
        required=("name",),
    )
    base = mapping({"type": kind, "json_schema": named}, required=("type",))

    def check(value: Any) -> Problem | None:
        problem = base.check(value)
        if problem is not None:
            return problem
        if value["type"] == "json_schema" and not isinstance(value.get("json_schema"), dict):
            return ".json_schema", "is required with `type: json_schema`"
        return None

    return Rule(check, base.schema | {"description": "Makes the answer JSON, or JSON that fits a schema."})


def structured_outputs(settings: GatewaySettings) -> Rule:
    """vLLM's constraints on the answer: exactly one of json, regex, choice, grammar, json_object."""
    kinds = ("json", "regex", "choice", "grammar", "json_object")
    base = mapping(
        {
            "json": json_schema(settings),
            "regex": text(settings.max_pattern, shortest=1),
            "choice": array(text(1024, shortest=1), 256, least=1),
            "grammar": text(settings.max_grammar, shortest=1),
            "json_object": boolean(),
            "disable_any_whitespace": boolean(),
            "disable_additional_properties": boolean(),
        },
        "vLLM's constraint on the answer: exactly one of " + ", ".join(f"`{kind}`" for kind in kinds) + ".",
    )

    def check(value: Any) -> Problem | None:
        problem = base.check(value)
        if problem is not None:
            return problem
        if sum(value.get(kind) is not None for kind in kinds) != 1:
            return "", "must hold exactly one of " + ", ".join(f"`{kind}`" for kind in kinds)
        if sum(map(len, value.get("choice") or ())) > settings.max_schema_text:
            return ".choice", f"holds more than {settings.max_schema_text} characters"
        if value.get("regex") is not None:
            why = patterns.problem(value["regex"], settings.max_pattern, settings.max_repetitions)
            return (".regex", why) if why else None
        return None

    return Rule(check, base.schema)


def tools(settings: GatewaySettings) -> Rule:
    """The functions that the model may call."""
    function = mapping(
        {
            # Longer than OpenAI's 64 and 1,024: coding agents bring such tools by other APIs.
            "name": text(200, shortest=1),
            "description": text(65_536),
            "parameters": json_schema(settings),
            "strict": boolean(),
        },
        required=("name",),
    )
    tool = mapping({"type": one_of("function"), "function": function}, required=("type", "function"))
    return array(tool, 128, "Functions that the model may call.")


def tool_choice() -> Rule:
    """`none`, `auto`, `required`, or one function by name."""
    named = mapping(
        {
            "type": one_of("function"),
            "function": mapping({"name": text(200, shortest=1)}, required=("name",)),
        },
        required=("type", "function"),
    )
    return either(
        "must be `none`, `auto`, `required` or `{type: function, function: {name}}`",
        one_of("none", "auto", "required"),
        named,
    )


_TEMPLATE_NAMES = frozenset(
    (
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "documents",
        "messages",
        "return_dict",
        "return_tensors",
        "self",
        "tokenize",
        "tokenizer",
        "tokenizer_kwargs",
        "tools",
    )
)


def template_kwargs() -> Rule:
    """Switches of the model's own chat template (`enable_thinking`): few, small, none for the renderer."""

    def check(value: Any) -> Problem | None:
        if type(value) is not dict or len(value) > 16:
            return "", "must be an object of at most 16 fields"
        for name, each in value.items():
            if name in _TEMPLATE_NAMES or len(name) > 64:
                return f".{name[:64]}", "cannot be set"
            if (
                each is not None
                and type(each) not in (bool, int, float)
                and not (type(each) is str and len(each) <= 256)
            ):
                return f".{name}", "must be a number, true, false or a string of at most 256 characters"
        return None

    return Rule(
        check,
        {
            "type": "object",
            "maxProperties": 16,
            "additionalProperties": {"type": ["boolean", "number", "string", "null"], "maxLength": 256},
            "propertyNames": {"maxLength": 64, "not": {"enum": sorted(_TEMPLATE_NAMES)}},
            "description": "Switches of the model's own chat template.",
        },
    )


_data_url = {"type": "string", "pattern": "^data:"}

# What a content part may hold besides its `type`, by type. Strict, because engines look for media under
# other keys too (CVE-2026-34753: a second path to the same fetch).
_PARTS: dict[str, str] = {
    "text": "text",
    "refusal": "refusal",
    "image_url": "image_url",
    "input_audio": "input_audio",
}
_MESSAGE_FIELDS = frozenset(
    (
        "annotations",
        "audio",
        "content",
        "function_call",
        "name",
        "reasoning",
        "reasoning_content",
        "refusal",
        "role",
        "tool_call_id",
        "tool_calls",
    )
)
_ROLES = frozenset(("system", "developer", "user", "assistant", "tool"))
_WITHOUT_CONTENT = frozenset(("assistant",))


def _content_part(part: Any) -> Problem | None:
    if type(part) is not dict:
        return "", "must be an object"
    kind = part.get("type")
    field = _PARTS.get(kind) if type(kind) is str else None
    if field is None:
        return ".type", "must be one of " + ", ".join(f"`{each}`" for each in _PARTS)
    for name in part:
        if name not in ("type", field):
            return f".{name[:64]}", f"is not a field of a `{kind}` part"
    value = part.get(field)
    if field in ("text", "refusal"):
        return None if type(value) is str else (f".{field}", "must be a string")
    if type(value) is not dict:
        return f".{field}", "must be an object"
    if field == "image_url":
        for name in value:
            if name not in ("url", "detail"):
                return f".image_url.{name[:64]}", "is not a known field"
        url = value.get("url")
        if type(url) is not str or not url.startswith("data:"):
            return ".image_url.url", _REMOTE
        return None
    if set(value) != {"data", "format"} or type(value["data"]) is not str or type(value["format"]) is not str:
        return ".input_audio", "must hold `data` and `format`, both strings"
    return None


def _tool_calls(calls: Any) -> Problem | None:
    if type(calls) is not list or len(calls) > 128:
        return "", "must be a list of at most 128 items"
    for position, call in enumerate(calls):
        function = call.get("function") if type(call) is dict else None
        if (
            type(function) is not dict
            or type(function.get("name")) is not str
            or type(function.get("arguments")) is not str
        ):
            return f"[{position}]", "must be `{id, type: function, function: {name, arguments}}`"
    return None


def _message(message: Any) -> Problem | None:
    if type(message) is not dict:
        return "", "must be an object"
    role = message.get("role")
    if type(role) is not str or role not in _ROLES:
        return ".role", "must be one of `system`, `developer`, `user`, `assistant`, `tool`"
    content = message.get("content")
    if type(content) is list:
        if not content:
            return ".content", "must not be empty"
        for position, part in enumerate(content):
            problem = _content_part(part)
            if problem is not None:
                return f".content[{position}]{problem[0]}", problem[1]
    elif type(content) is not str and not (content is None and role in _WITHOUT_CONTENT):
        return ".content", "must be a string or a list of parts"
    if len(message) > 2:
        for name, value in message.items():
            if name not in _MESSAGE_FIELDS:
                return f".{name[:64]}", "is not a known field of a message"
            if value is None or name in ("role", "content"):
                continue
            if name == "tool_calls":
                problem = _tool_calls(value)
                if problem is not None:
                    return f".tool_calls{problem[0]}", problem[1]
            elif name in ("audio", "function_call"):
                return f".{name}", "is not offered"
            elif name == "annotations":
                if type(value) is not list:
                    return ".annotations", "must be a list"
            elif type(value) is not str:
                return f".{name}", "must be a string"
    return None


def messages(settings: GatewaySettings) -> Rule:
    """The conversation. Text, and media only as `data:` URLs."""
    item = Rule(_message, {"$ref": "#/components/schemas/ChatMessage"})
    return array(item, settings.max_messages, "The conversation so far.", least=1)


CHAT_MESSAGE: dict[str, Any] = {
    "type": "object",
    "required": ["role", "content"],
    "additionalProperties": False,
    "properties": {
        "role": {"type": "string", "enum": sorted(_ROLES)},
        "content": {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "anyOf": [
                            {
                                "type": "object",
                                "required": ["type", "text"],
                                "additionalProperties": False,
                                "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                            },
                            {
                                "type": "object",
                                "required": ["type", "image_url"],
                                "additionalProperties": False,
                                "properties": {
                                    "type": {"const": "image_url"},
                                    "image_url": {
                                        "type": "object",
                                        "required": ["url"],
                                        "additionalProperties": False,
                                        "properties": {"url": _data_url, "detail": {"type": "string"}},
                                    },
                                },
                            },
                            {
                                "type": "object",
                                "required": ["type", "input_audio"],
                                "additionalProperties": False,
                                "properties": {
                                    "type": {"const": "input_audio"},
                                    "input_audio": {
                                        "type": "object",
                                        "required": ["data", "format"],
                                        "additionalProperties": False,
                                        "properties": {
                                            "data": {"type": "string"},
                                            "format": {"type": "string"},
                                        },
                                    },
                                },
                            },
                            {
                                "type": "object",
                                "required": ["type", "refusal"],
                                "additionalProperties": False,
                                "properties": {"type": {"const": "refusal"}, "refusal": {"type": "string"}},
                            },
                        ]
                    },
                },
            ],
            "description": "Text or parts; media only as `data:` URLs. An assistant's may be null.",
        },
        "name": {"type": "string"},
        "tool_call_id": {"type": "string"},
        "tool_calls": {"type": "array", "maxItems": 128, "items": {"type": "object"}},
        "refusal": {"type": ["string", "null"]},
        "reasoning": {"type": ["string", "null"]},
        "reasoning_content": {"type": ["string", "null"]},
        "annotations": {"type": ["array", "null"]},
    },
}


def stop(longest: int = 256, most: int = 16) -> Rule:
    """One string or a few at which generation stops."""
    return either(
        f"must be a string of at most {longest} characters or a list of at most {most} of them",
        text(longest, shortest=1),
        array(text(longest, shortest=1), most),
    )


def logit_bias() -> Rule:
    """Token id (as a string) to a bias from -100 to 100."""

    def check(value: Any) -> Problem | None:
        if type(value) is not dict or len(value) > 1024:
            return "", "must be an object of at most 1024 token ids"
        for token, bias in value.items():
            if not (token.isascii() and token.isdigit() and len(token) <= 9):
                return "", "must have token ids as its keys"
            if type(bias) not in (int, float) or not -100 <= bias <= 100:
                return f".{token}", "must be a number from -100 to 100"
        return None

    return Rule(
        check,
        {
            "type": "object",
            "maxProperties": 1024,
            "propertyNames": {"pattern": "^[0-9]{1,9}$"},
            "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
        },
    )


TOKEN = integer(0, 2**31 - 1)
