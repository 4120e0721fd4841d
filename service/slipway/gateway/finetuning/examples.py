"""Examples to learn from, a JSON object a line: checked, and written anew for the preparation of data.

supervised  {"messages": […]} or {"prompt", "completion"}
            becomes  {"messages": […]}, the last one the assistant's
dpo         {"input": {"messages": […]}, "preferred_output": […], "non_preferred_output": […]}
            becomes  {"messages": […], "chosen", "rejected"}
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from slipway.gateway.batches.lines import MOST_ERRORS, LineError, numbered

Method = Literal["supervised", "dpo"]
Example = dict[str, Any]
FEWEST = 10
"""Examples of a training file."""
_ROLES = ("system", "developer", "user", "assistant")
_ANSWER = "must end with a message of the role `assistant`"


def supervised(line: Mapping[str, Any]) -> Example:
    """A conversation whose last turn is learned. Raises LineError."""
    if "prompt" in line or "completion" in line:
        _only(line, "prompt", "completion")
        asked, answer = _text(line, "prompt"), _text(line, "completion")
        return {"messages": [_message("user", asked), _message("assistant", answer)]}
    _only(line, "messages")
    messages = _conversation(line, "messages")
    if messages[-1]["role"] != "assistant":
        raise _wrong("messages", _ANSWER)
    return {"messages": messages}


def preference(line: Mapping[str, Any]) -> Example:
    """A conversation, an answer that is preferred and one that is not. Raises LineError."""
    _only(line, "input", "preferred_output", "non_preferred_output")
    asked = line.get("input")
    if not isinstance(asked, dict):
        raise _wrong("input", "must be an object with `messages`")
    _only(asked, "messages", "tools", "parallel_tool_calls", where="input.")
    if asked.get("tools"):
        raise _wrong("input.tools", "are not learned from here; leave them out")
    messages = _conversation(asked, "messages", "input.")
    if messages[-1]["role"] == "assistant":
        raise _wrong("input.messages", "must not end with the answer")
    return {
        "messages": messages,
        "chosen": _one_answer(line, "preferred_output"),
        "rejected": _one_answer(line, "non_preferred_output"),
    }


READ: Mapping[Method, Callable[[Mapping[str, Any]], Example]] = {
    "supervised": supervised,
    "dpo": preference,
}


@dataclass(slots=True)
class Checked:
    """What a file holds."""

    count: int = 0
    """Lines that are not empty."""
    mistakes: list[tuple[int, str]] = field(default_factory=list)
    """Line and sentence, the first `MOST_ERRORS`."""


def read(data: bytes, method: Method, longest: int) -> Example:
    """One line as an example. Raises LineError."""
    if len(data) > longest:
        raise LineError("line_too_long", f"is longer than {longest} bytes")
    try:
        line = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise LineError("invalid_json_line", f"is not valid JSON (column {error.colno})") from None
    if not isinstance(line, dict):
        raise LineError("invalid_json_line", "must be a JSON object")
    return READ[method](line)


async def check(content: AsyncIterator[bytes], method: Method, longest: int) -> Checked:
    """Read every line once."""
    found = Checked()
    try:
        async for number, data in numbered(content, longest):
            await _let_others(number)
            found.count += 1
            try:
                read(data, method, longest)
            except LineError as error:
                found.mistakes.append((number, str(error)))
                if len(found.mistakes) >= MOST_ERRORS:
                    break
    except LineError as error:  # One without an end: its number is in the sentence.
        found.mistakes.append((found.count + 1, str(error)))
    return found


async def written(content: AsyncIterator[bytes], method: Method, longest: int) -> AsyncIterator[bytes]:
    """The lines of a file that was checked, written anew."""
    async for number, data in numbered(content, longest):
        await _let_others(number)
        yield orjson.dumps(read(data, method, longest)) + b"\n"


async def _let_others(number: int) -> None:
    """A piece of a file holds thousands of lines; requests do not wait for all of them."""
    if number % 64 == 0:
        await asyncio.sleep(0)


def _wrong(name: str, why: str) -> LineError:
    return LineError("invalid_example", f"`{name}` {why}", name)


def _only(line: Mapping[str, Any], *names: str, where: str = "") -> None:
    unknown = line.keys() - set(names)
    if unknown:
        name = min(unknown)[:64]
        raise LineError("unknown_parameter", f"`{where}{name}` is not a field of an example", where + name)


def _text(line: Mapping[str, Any], name: str) -> str:
    value = line.get(name)
    if not isinstance(value, str) or not value:
        raise _wrong(name, "must be a text that is not empty")
    return value


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _conversation(line: Mapping[str, Any], name: str, where: str = "") -> list[dict[str, str]]:
    found = line.get(name)
    if not isinstance(found, list) or not found:
        raise _wrong(where + name, "must be a list of messages")
    return [_turn(each, f"{where}{name}[{at}]") for at, each in enumerate(found)]


def _turn(message: Any, where: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise _wrong(where, "must be an object with `role` and `content`")
    role = message.get("role")
    if role not in _ROLES:
        raise _wrong(f"{where}.role", f"must be one of {', '.join(f'`{each}`' for each in _ROLES)}")
    if message.get("weight", 1) != 1:
        raise _wrong(f"{where}.weight", "can only be 1; the last answer is learned")
    for name in message.keys() - {"role", "content", "weight"}:
        if message[name] is not None:
            raise _wrong(f"{where}.{name[:64]}", "is not learned from here; leave it out")
    return _message("system" if role == "developer" else role, _content(message.get("content"), where))


def _content(content: Any, where: str) -> str:
    if isinstance(content, list):
        parts = [each.get("text") if isinstance(each, dict) else None for each in content]
        if not all(isinstance(part, str) for part in parts):
            raise _wrong(f"{where}.content", "can only hold parts of the type `text`")
        content = "".join(str(part) for part in parts)
    if not isinstance(content, str) or not content:
        raise _wrong(f"{where}.content", "must be a text that is not empty")
    if "\0" in content:
        raise _wrong(f"{where}.content", "cannot contain the character NUL")
    return content


def _one_answer(line: Mapping[str, Any], name: str) -> str:
    messages = _conversation(line, name)
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise _wrong(name, "must be a list of one message, of the role `assistant`")
    return messages[0]["content"]
