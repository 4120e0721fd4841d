"""A conversation for a chat template: one system text in front, then user and assistant by turns.

Most templates know a system message in the first place only, and some want the turns to alternate. So
system texts that come later are told to the model in the user's turn, in tags, and what one side says in
several messages becomes one.
"""

from typing import Any

Part = dict[str, Any]
Message = dict[str, Any]


def in_tags(text: str) -> str:
    """An operator's word in the middle of a conversation, as part of the user's turn."""
    return f"<system-reminder>\n{text}\n</system-reminder>"


class Turns:
    """Gathers a conversation; `messages` gives it as chat completions take it."""

    def __init__(self) -> None:
        self._system: list[str] = []
        self._messages: list[Message] = []

    @property
    def messages(self) -> list[Message]:
        """The conversation so far."""
        lead = [{"role": "system", "content": "\n\n".join(self._system)}] if self._system else []
        return [*lead, *map(_plain, self._messages)]

    def system(self, text: str) -> None:
        """What the operator says."""
        if not text:
            return
        if not self._messages:
            self._system.append(text)
        else:
            self.user([{"type": "text", "text": in_tags(text)}])

    def user(self, parts: list[Part]) -> None:
        """What the user says and shows."""
        if not parts:
            return
        if self._messages and self._messages[-1]["role"] == "user":
            self._messages[-1]["content"].extend(parts)
        else:
            self._messages.append({"role": "user", "content": list(parts)})

    def assistant(self, text: str) -> None:
        """What the model has said."""
        if text:
            turn = self._assistant()
            turn["content"] = turn.get("content", "") + text

    def reasoning(self, text: str) -> None:
        """What the model has thought, for templates that show it."""
        if text:
            turn = self._assistant()
            turn["reasoning"] = turn.get("reasoning", "") + text

    def call(self, call_id: str, name: str, arguments: str) -> None:
        """A tool that the model has called; `arguments` is JSON."""
        function = {"name": name, "arguments": arguments}
        calls = self._assistant().setdefault("tool_calls", [])
        calls.append({"id": call_id, "type": "function", "function": function})

    def result(self, call_id: str, text: str) -> None:
        """What the tool gave back."""
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": text})

    def _assistant(self) -> Message:
        if not self._messages or self._messages[-1]["role"] != "assistant":
            self._messages.append({"role": "assistant"})
        return self._messages[-1]


def _plain(message: Message) -> Message:
    content = message.get("content")
    if content is None:
        return {**message, "content": ""}
    if type(content) is list and all(part["type"] == "text" for part in content):
        return {**message, "content": "\n".join(part["text"] for part in content)}
    return message
