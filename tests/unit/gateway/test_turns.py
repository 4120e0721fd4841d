"""Conversations for chat templates: system first, turns that alternate, calls with their results."""

from typing import Any

from slipway.gateway.chat.turns import Turns


def said(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]


def test_what_the_operator_says_first_is_one_system_message() -> None:
    turns = Turns()
    turns.system("Be kind.")
    turns.system("")
    turns.system("Be brief.")
    turns.user(said("hi"))
    assert turns.messages == [
        {"role": "system", "content": "Be kind.\n\nBe brief."},
        {"role": "user", "content": "hi"},
    ]


def test_what_the_operator_says_later_is_told_in_the_users_turn() -> None:
    turns = Turns()
    turns.user(said("hi"))
    turns.system("Now in French.")
    assert turns.messages == [
        {"role": "user", "content": "hi\n<system-reminder>\nNow in French.\n</system-reminder>"}
    ]


def test_what_one_side_says_in_a_row_is_one_turn() -> None:
    turns = Turns()
    turns.user(said("a"))
    turns.user(said("b"))
    turns.reasoning("hm")
    turns.assistant("c")
    turns.assistant("d")
    turns.call("1", "f", "{}")
    turns.call("2", "g", "{}")
    turns.result("1", "x")
    turns.result("2", "y")
    turns.user(said("e"))
    assert [message["role"] for message in turns.messages] == ["user", "assistant", "tool", "tool", "user"]
    user, assistant, first, second, _ = turns.messages
    assert user["content"] == "a\nb"
    assert assistant["content"] == "cd"
    assert assistant["reasoning"] == "hm"
    assert [call["function"]["name"] for call in assistant["tool_calls"]] == ["f", "g"]
    assert (first["tool_call_id"], second["tool_call_id"]) == ("1", "2")


def test_pictures_stay_parts_in_their_order() -> None:
    turns = Turns()
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    turns.user([*said("look"), picture])
    turns.user(said("well?"))
    assert turns.messages[0]["content"] == [*said("look"), picture, *said("well?")]


def test_a_call_without_words_has_empty_content() -> None:
    turns = Turns()
    turns.call("1", "f", "{}")
    assert turns.messages[0]["content"] == ""
