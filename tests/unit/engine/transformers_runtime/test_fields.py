"""Every field is honoured or refused by name."""

from typing import Any

import pytest

from slipway.engine.transformers_runtime import fields
from slipway.engine.transformers_runtime.errors import RequestError
from slipway.engine.transformers_runtime.reading import PART_SEPARATOR, texts_of


def test_null_is_the_same_as_absent() -> None:
    assert fields.checked(fields.COMPLETION, {"prompt": "a", "logprobs": None}) == {"prompt": "a"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("echo", 0),
        ("best_of", True),
        ("logprobs", 0),
        ("n", 0),
        ("n", True),
        ("stop", [""]),
        ("stop", ["a"] * 17),
    ],
)
def test_a_value_that_would_change_something_is_refused(name: str, value: Any) -> None:
    with pytest.raises(RequestError) as caught:
        fields.checked(fields.COMPLETION, {"prompt": "a", name: value})
    assert (caught.value.status, caught.value.param) == (400, name)


@pytest.mark.parametrize("body", [None, [], "a", 1])
def test_a_body_is_an_object(body: Any) -> None:
    with pytest.raises(RequestError) as caught:
        fields.checked(fields.COMPLETION, body)
    assert "JSON object" in caught.value.message


@pytest.mark.parametrize("value", [[], [[]], [1, "a"], [[1], "a"], [True], [-1], 5, {}])
def test_a_prompt_is_text_or_ids(value: Any) -> None:
    assert fields.texts_or_ids(value) is not None


@pytest.mark.parametrize("value", ["a", ["a", ""], [1, 2], [[1], [2, 3]]])
def test_texts_and_ids_of_all_forms_are_taken(value: Any) -> None:
    assert fields.texts_or_ids(value) is None


def test_a_message_of_parts_is_its_texts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert texts_of([{"role": "user", "content": parts}]) == [
        {"role": "user", "content": f"a{PART_SEPARATOR}b"}
    ]


@pytest.mark.parametrize(
    "message",
    [
        "a",
        {"role": "user"},
        {"role": "user", "content": []},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b"}}]},
        {"role": "tool", "content": "a"},
        {"role": "assistant", "content": "a", "tool_calls": [{}]},
    ],
)
def test_a_message_that_is_no_text_is_refused(message: Any) -> None:
    with pytest.raises(RequestError) as caught:
        texts_of([{"role": "user", "content": "before"}, message])
    assert (caught.value.param or "").startswith("messages[1]")
