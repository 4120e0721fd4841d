"""From what a file holds to the columns of a record.

chat            `messages` (OpenAI's fine-tuning files), `conversations` (ShareGPT), or what completion takes
completion      `prompt` and `completion`; `instruction`, `input`, `output` (Alpaca); `question`, `answer`
preference      `prompt` or `messages` with `chosen`, `rejected`; OpenAI's `input`, `preferred_output`, …
classification  `text`, `label`
tokens          `tokens`, `tags`; of a text file one token and its tag a line, a blank line between
text            `text`, `content`; a text file
"""

from collections.abc import Mapping
from typing import Any, cast

from slipway.objects.datasets import Format
from slipway.training.records import Message, Record

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
_PROMPTS = ("prompt", "instruction", "question")
_ANSWERS = ("completion", "output", "response", "answer")
_LONGEST_SLICE = 256
"""Characters of a further field that is kept, to tell records apart by it."""


class InvalidError(Exception):
    """A record that does not hold what its format asks for."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def to_record(value: Any, form: Format, fields: Mapping[str, str]) -> Record:
    """A record of what a file holds; id, source and place are still to be filled in.

    Args:
        fields: where the file keeps what the format asks for; a dotted path goes into objects.

    Raises:
        InvalidError: it does not hold that; the message says how to mend it.
    """
    if isinstance(value, str):
        value = _of_text(value, form)
    if not isinstance(value, dict):
        raise InvalidError("not-an-object", f"It is {_kind(value)}, not an object with fields.")
    row = _Row(value, fields)
    match form:
        case "chat" | "completion":
            content: dict[str, Any] = {"messages": _chat(row)}
        case "preference":
            content = _preference(row)
        case "classification":
            content = {"text": row.text("text"), "label": row.text("label")}
        case "tokens":
            content = _tokens(row)
        case _:
            content = {"text": row.text("text", "content")}
    # A completion is a conversation of one question.
    stored = "chat" if form == "completion" else form
    record = {"id": "", "format": stored, "source": "", "place": "", "augmented": "", **content}
    return cast("Record", {**record, "slices": row.rest()})


class _Row:
    """Takes fields by the names they may have, and knows which are left."""

    def __init__(self, value: dict[str, Any], fields: Mapping[str, str]) -> None:
        self._value = value
        self._fields = fields
        self._taken: set[str] = set()

    def find(self, *names: str) -> Any:
        """The first of these fields that is there; None if none is."""
        for name in names:
            path = self._fields.get(name)
            found = self._at(path.split(".")) if path else self._at([name])
            if found is not None:
                self._taken.add((path or name).split(".")[0])
                return found
        return None

    def text(self, *names: str) -> str:
        """The same as text, which must not be empty."""
        found = self.find(*names)
        if found is None:
            raise self.missing(names[0])
        text = _text(found, names[0])
        if not text.strip():
            raise InvalidError("empty", f"Its `{names[0]}` is empty.")
        return text

    def missing(self, name: str) -> InvalidError:
        """The error for a field that is not there."""
        held = ", ".join(f"`{each}`" for each in list(self._value)[:8]) or "none"
        where = self._fields.get(name, name)
        mend = f"name the field that has it, as in `fields: {{{name}: …}}`"
        return InvalidError("missing-field", f"It has no `{where}`; its fields are {held}: {mend}.")

    def rest(self) -> dict[str, str]:
        """Further fields that are short enough to tell records apart by them."""
        kept = {}
        for name, value in self._value.items():
            if name in self._taken or isinstance(value, (dict, list)) or value is None:
                continue
            text = _scalar(value)
            if len(text) <= _LONGEST_SLICE and len(name) <= _LONGEST_SLICE:
                kept[name] = text
        return kept

    def _at(self, path: list[str]) -> Any:
        found: Any = self._value
        for name in path:
            if not isinstance(found, dict):
                return None
            found = found.get(name)
        return found


def _chat(row: _Row) -> list[Message]:
    turns = row.find("messages", "conversations")
    if turns is None:
        messages = _prompt(row)
        answer = row.find(*_ANSWERS)
        if answer is None:
            raise row.missing("completion" if messages else "messages")
        if not messages:
            raise row.missing("prompt")
        messages += (
            _messages(answer)
            if isinstance(answer, list)
            else [Message(role="assistant", content=_text(answer, "completion"))]
        )
    else:
        messages = _messages(turns)
    system = row.find("system")
    if isinstance(system, str) and system.strip() and messages[0]["role"] != "system":
        messages.insert(0, Message(role="system", content=system))
    if messages[-1]["role"] != "assistant":
        raise InvalidError("bad-roles", "Its last message is not the assistant's; there is nothing to learn.")
    if not messages[-1]["content"].strip():
        raise InvalidError("empty", "The assistant's last message is empty.")
    return messages


def _prompt(row: _Row) -> list[Message]:
    prompt = row.find(*_PROMPTS)
    if isinstance(prompt, list):
        return _messages(prompt)
    further = row.find("input")
    texts = [_text(part, "prompt") for part in (prompt, further) if isinstance(part, (str, int, float))]
    asked = "\n\n".join(text for text in texts if text.strip())
    return [Message(role="user", content=asked)] if asked else []


def _messages(turns: Any) -> list[Message]:
    if not isinstance(turns, list) or not turns:
        raise InvalidError("bad-type", "Its `messages` are no list of messages.")
    return [_message(turn, at) for at, turn in enumerate(turns, 1)]


def _message(turn: Any, at: int) -> Message:
    if not isinstance(turn, dict):
        raise InvalidError("bad-type", f"Message {at} is {_kind(turn)}, not an object with role and content.")
    role = turn.get("role", turn.get("from"))
    if turn.get("tool_calls") or turn.get("function_call") or role in ("tool", "function"):
        raise InvalidError(
            "unsupported", f"Message {at} calls a tool or answers for one; leave such records out."
        )
    known = _ROLES.get(role) if isinstance(role, str) else None
    if known is None:
        raise InvalidError(
            "bad-roles", f"Message {at} has the role {role!r}; write system, user or assistant."
        )
    return Message(role=known, content=_content(turn.get("content", turn.get("value")), at))


def _content(content: Any, at: int) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        kinds = {part.get("type") if isinstance(part, dict) else None for part in content}
        if kinds == {"text"}:
            return "".join(_text(part.get("text"), "content") for part in content)
        raise InvalidError("unsupported", f"Message {at} holds more than text; leave such records out.")
    raise InvalidError("bad-type", f"The content of message {at} is {_kind(content)}, not text.")


def _preference(row: _Row) -> dict[str, Any]:
    chosen, rejected = row.find("chosen", "preferred_output"), row.find("rejected", "non_preferred_output")
    for name, found in (("chosen", chosen), ("rejected", rejected)):
        if found is None:
            raise row.missing(name)
    asked = row.find("messages", "prompt", "instruction", "question", "input")
    if isinstance(asked, dict):
        asked = asked.get("messages")
    if asked is None and isinstance(chosen, list):
        asked = chosen[:-1]
    if asked is None:
        raise row.missing("prompt")
    messages = (
        _messages(asked)
        if isinstance(asked, list)
        else [Message(role="user", content=_text(asked, "prompt"))]
    )
    texts = {"chosen": _answer(chosen, "chosen"), "rejected": _answer(rejected, "rejected")}
    if texts["chosen"] == texts["rejected"]:
        raise InvalidError("no-preference", "Its two answers are the same.")
    return {"messages": messages, **texts}


def _answer(found: Any, name: str) -> str:
    text = _messages(found)[-1]["content"] if isinstance(found, list) else _text(found, name)
    if not text.strip():
        raise InvalidError("empty", f"Its `{name}` is empty.")
    return text


def _tokens(row: _Row) -> dict[str, Any]:
    found = {
        name: row.find(*names) for name, names in (("tokens", ["tokens"]), ("tags", ["tags", "ner_tags"]))
    }
    for name, value in found.items():
        if value is None:
            raise row.missing(name)
        if not isinstance(value, list) or not value:
            raise InvalidError("bad-type", f"Its `{name}` are no list.")
    tokens, tags = ([_text(each, name) for each in value] for name, value in found.items())
    if len(tokens) != len(tags):
        raise InvalidError(
            "bad-type", f"It has {len(tokens)} tokens and {len(tags)} tags; give each token one."
        )
    return {"tokens": tokens, "tags": tags}


def _of_text(text: str, form: Format) -> Any:
    """What a text file's paragraph means."""
    if form == "text":
        return {"text": text}
    if form == "tokens":
        lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        return {"tokens": [line[0] for line in lines], "tags": [line[-1] for line in lines]}
    raise InvalidError(
        "not-an-object", f"A text file holds no records of the format {form}; use JSONL or CSV."
    )


def _text(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float, bool)):
        return _scalar(value)
    raise InvalidError("bad-type", f"Its `{name}` is {_kind(value)}, not text.")


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "true or false"}
    return names.get(type(value), "a number")
