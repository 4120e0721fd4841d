"""What of a conversation is learned: decoded, it is what the assistant says and the token that ends it."""

from typing import Any

import pytest

from slipway.training.errors import TuningError
from slipway.training.tuning.conversations import IGNORED, encode
from training.tuning import tiny
from training.tuning.datasets import chat

STRIPPING = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' and not loop.last %}{{ m['content'].split('</think>')[-1] }}"
    "{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def learned(tokenizer: Any, *said: str, system: str | None = None) -> list[str]:
    """The stretches that are learned, decoded."""
    tokens = encode(tokenizer, chat(*said, system=system)["messages"])
    stretches: list[list[int]] = [[]]
    for label in tokens.labels:
        if label != IGNORED:
            stretches[-1].append(label)
        elif stretches[-1]:
            stretches.append([])
    return [tokenizer.decode(stretch) for stretch in stretches if stretch]


def test_every_turn_of_the_assistant_is_learned_with_its_end_and_nothing_else() -> None:
    found = learned(tiny.tokenizer(), "Hi.", "Hello!", "And?", "Söme ünicode 🙂.", system="Be short.")
    assert found == ["Hello!<|im_end|>", "Söme ünicode 🙂.<|im_end|>"]


def test_what_is_learned_is_what_is_there() -> None:
    tokens = encode(tiny.tokenizer(), chat("a", "b", "c", "d")["messages"])
    assert all(label in (IGNORED, token) for token, label in zip(tokens.ids, tokens.labels, strict=True))


def test_a_turn_that_is_rendered_otherwise_once_others_follow_is_not_learned() -> None:
    found = learned(tiny.tokenizer(STRIPPING), "a", "<think>x</think>one", "b", "<think>y</think>two")
    assert found == ["<think>y</think>two<|im_end|>"]


def test_a_template_that_does_not_go_on_from_its_prompt_is_refused() -> None:
    bad = tiny.TEMPLATE.replace("'<|im_start|>assistant\n'", "'<|im_start|>bot\n'")
    with pytest.raises(TuningError, match="chat template"):
        encode(tiny.tokenizer(bad), chat("a", "b")["messages"])


def test_without_a_token_that_ends_turns_the_whole_turn_is_learned() -> None:
    plain = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    plain += "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    assert learned(tiny.tokenizer(plain), "a", "b") == [" b\n"]
