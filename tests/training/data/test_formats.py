"""Each shape that a format may have becomes the same record; what is missing is named."""

from typing import Any

import pytest

from slipway.objects.datasets import Format
from slipway.training.data.formats import InvalidError, to_record

ASKED = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]


@pytest.mark.parametrize(
    "value",
    [
        {"messages": ASKED},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}, ASKED[1]]},
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
        {"instruction": "Why?", "input": "", "output": "So."},
        {"prompt": "Why?", "completion": "So."},
        {"prompt": ASKED[:1], "completion": ASKED[1:]},
        {"question": "Why?", "answer": "So."},
    ],
)
@pytest.mark.parametrize("form", ["chat", "completion"])
def test_shapes_of_conversations(value: dict[str, Any], form: Format) -> None:
    record = to_record(value, form, {})
    assert record["messages"] == ASKED
    assert record["format"] == "chat"


def test_an_instruction_with_input_and_a_system_message() -> None:
    value = {"system": "Be short.", "instruction": "Translate.", "input": "Hund", "output": "dog"}
    assert to_record(value, "chat", {})["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Translate.\n\nHund"},
        {"role": "assistant", "content": "dog"},
    ]


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
        {
            "input": {"messages": ASKED[:1]},
            "preferred_output": [{"role": "assistant", "content": "So."}],
            "non_preferred_output": [{"role": "assistant", "content": "No."}],
        },
        {"chosen": ASKED, "rejected": [ASKED[0], {"role": "assistant", "content": "No."}]},
    ],
)
def test_shapes_of_preferences(value: dict[str, Any]) -> None:
    record = to_record(value, "preference", {})
    assert (record["messages"], record["chosen"], record["rejected"]) == (ASKED[:1], "So.", "No.")


def test_fields_may_have_other_names_and_lie_deeper() -> None:
    record = to_record(
        {"body": {"en": "good"}, "category": True, "author": 7},
        "classification",
        {"text": "body.en", "label": "category"},
    )
    assert (record["text"], record["label"], record["slices"]) == ("good", "true", {"author": "7"})


def test_tokens_of_a_text_file() -> None:
    record = to_record("# a comment\nAda NNP B-PER\nwrote VBD O", "tokens", {})
    assert (record["tokens"], record["tags"]) == (["Ada", "wrote"], ["B-PER", "O"])


@pytest.mark.parametrize(
    ("form", "value", "reason", "says"),
    [
        ("chat", [1], "not-an-object", "a list"),
        ("chat", {"a": 1, "b": 2}, "missing-field", "its fields are `a`, `b`"),
        ("chat", {"messages": "hello"}, "bad-type", "no list"),
        ("chat", {"messages": []}, "bad-type", "no list"),
        ("chat", {"messages": [1]}, "bad-type", "Message 1"),
        ("chat", {"messages": ASKED[:1]}, "bad-roles", "last message"),
        ("chat", {"messages": [{"role": "god", "content": "x"}]}, "bad-roles", "'god'"),
        ("chat", {"messages": [ASKED[0], {"role": "assistant", "content": " "}]}, "empty", "empty"),
        ("chat", {"messages": [ASKED[0], {"role": "assistant", "tool_calls": [1]}]}, "unsupported", "tool"),
        (
            "chat",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "unsupported",
            "more than",
        ),
        ("chat", "a text", "not-an-object", "JSONL or CSV"),
        ("preference", {"prompt": "a", "chosen": "b"}, "missing-field", "`rejected`"),
        ("preference", {"prompt": "a", "chosen": "b", "rejected": "b"}, "no-preference", "the same"),
        ("classification", {"text": "a"}, "missing-field", "fields: {label:"),
        ("classification", {"text": " ", "label": "a"}, "empty", "`text`"),
        ("classification", {"text": {}, "label": "a"}, "bad-type", "an object"),
        ("tokens", {"tokens": ["a"], "tags": []}, "bad-type", "`tags`"),
        ("tokens", {"tokens": ["a"], "tags": ["O", "O"]}, "bad-type", "1 tokens and 2 tags"),
        ("text", {"text": None}, "missing-field", "`text`"),
    ],
)
def test_what_is_wrong_is_said_with_its_mend(form: Format, value: Any, reason: str, says: str) -> None:
    with pytest.raises(InvalidError, match=says.replace("{", "\\{")) as caught:
        to_record(value, form, {})
    assert caught.value.reason == reason
