"""What a person does first. Holds for any gateway that serves a model."""

import pytest
from playwright.sync_api import expect

from browser.consolepage import MEASURES, Console


def test_an_answer_is_streamed_and_measured(console: Console) -> None:
    console.ask("Say hello.")
    expect(console.page.locator(".bubble")).to_have_text("Say hello.")
    console.wait_for_answer()
    expect(console.answer.locator(".markdown").last).not_to_be_empty()
    expect(console.answer.locator(".measures")).to_have_text(MEASURES)
    expect(console.error).to_have_count(0)
    expect(console.message).to_be_focused()


def test_the_chosen_model_is_offered_and_named(console: Console, console_model: str) -> None:
    if console_model:
        console.model.select_option(console_model)
    chosen = console.model.input_value()
    console.ask("Hi")
    console.wait_for_answer()
    expect(console.answer.get_by_role("heading", level=2).first).to_have_text(chosen)


def test_retry_keeps_both_answers(console: Console) -> None:
    console.ask("Name a colour.")
    console.wait_for_answer()
    console.button("Retry").click()
    expect(console.answer.get_by_label("Answer 2 of 2")).to_be_visible()
    console.button("Earlier answer").click()
    expect(console.answer.get_by_label("Answer 1 of 2")).to_be_visible()


def test_the_conversation_is_there_after_a_reload_until_a_new_chat(console: Console) -> None:
    console.ask("Say hello.")
    console.wait_for_answer()
    text = console.answer.locator(".markdown").last.inner_text()
    console.page.reload()
    expect(console.answer.locator(".markdown").last).to_have_text(text, use_inner_text=True)
    console.button("New chat").click()
    expect(console.page.locator(".turn")).to_have_count(0)
    expect(console.page.get_by_text("What shall we try?")).to_be_visible()
    expect(console.message).to_be_focused()


@pytest.mark.parametrize("way", ["button", "key"])
def test_stop_keeps_what_came(console: Console, long_question: str, way: str) -> None:
    console.ask(long_question)
    expect(console.answer.locator(".markdown").last).not_to_be_empty()
    if way == "button":
        console.button("Stop").click()
    else:
        console.page.keyboard.press("Escape")
    expect(console.answer.get_by_text("Stopped.")).to_be_visible()
    expect(console.answer.locator(".markdown").last).not_to_be_empty()
    expect(console.button("Send")).to_be_visible()
