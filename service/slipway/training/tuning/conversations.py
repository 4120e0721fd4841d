"""Conversations as tokens, by the model's own chat template; only what the assistant says is learned.

Where a turn of the assistant begins and ends is found by rendering: the conversation up to the turn with the
generation prompt, and the conversation with the turn. That needs no marks in the template, and the served
model sees exactly what it has learned from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slipway.training.errors import TuningError
from slipway.training.records import Message

IGNORED = -100
"""Label of a token that is not learned."""
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""For base models that bring no template."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One example."""

    ids: list[int]
    labels: list[int]
    """What is learned at each place: the token itself, or IGNORED."""

    def cut(self, length: int) -> "Tokens":
        """Its first `length` tokens."""
        return self if len(self.ids) <= length else Tokens(self.ids[:length], self.labels[:length])

    @property
    def learned(self) -> int:
        """Tokens that are learned. The first of all is predicted from nothing."""
        return sum(label != IGNORED for label in self.labels[1:])


def encode(tokenizer: Any, messages: Sequence[Message]) -> Tokens:
    """A conversation; learned are the assistant's turns, each with the token that ends it.

    Where a template renders a turn differently once others follow (some leave out what was thought), the
    last turn alone is learned.

    Raises:
        TuningError: the template does not go on from its own generation prompt.
    """
    said = [_plain(message) for message in messages]
    text, spans = _spans(tokenizer, said)
    return _mark(tokenizer, text, spans)


def _plain(message: Message) -> dict[str, str]:
    return {"role": message["role"], "content": message["content"]}


def _render(tokenizer: Any, messages: list[dict[str, str]], *, prompt: bool) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt))


def _spans(tokenizer: Any, messages: list[dict[str, str]]) -> tuple[str, list[tuple[int, int]]]:
    text = _render(tokenizer, messages, prompt=False)
    spans: list[tuple[int, int]] = []
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _render(tokenizer, messages[:at], prompt=True)
        through = _render(tokenizer, messages[: at + 1], prompt=False)
        if through.startswith(before) and text.startswith(through):
            spans.append((len(before), len(through)))
        elif at == len(messages) - 1:
            raise TuningError(
                "The model's chat template does not go on from its own generation prompt, so what the"
                " assistant says cannot be told apart; give the base model another chat_template.jinja.",
                "BadChatTemplate",
            )
    return text, spans


def _mark(tokenizer: Any, text: str, spans: list[tuple[int, int]]) -> Tokens:
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = encoded["input_ids"]
    labels = [IGNORED] * len(ids)
    ends = {token for token in (tokenizer.eos_token_id,) if token is not None}
    special = set(tokenizer.all_special_ids)
    for begin, end in spans:
        inside = [
            at
            for at, (first, last) in enumerate(encoded["offset_mapping"])
            if begin <= first < end and last > first
        ]
        # What a template writes after the token that ends a turn is never generated.
        last_end = max((at for at in inside if ids[at] in ends or ids[at] in special), default=None)
        for at in inside:
            if last_end is None or at <= last_end:
                labels[at] = ids[at]
    return Tokens(ids, labels)
