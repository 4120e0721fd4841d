"""Two models side by side: one prompt, two streams, figures, blind choice."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from browser.consolepage import MEASURES, Complaints, Console
from browser.scripted import Answer, Script


@pytest.fixture
def compare(console: Console) -> Console:
    console.go("Compare")
    return console


def ask(console: Console, question: str) -> None:
    box = console.page.get_by_label("Message to both")
    box.fill(question)
    box.press("Enter")


def side(console: Console, name: str) -> Locator:
    return console.page.get_by_role("article", name=f"Answer {name}").last


def complete(console: Console) -> None:
    for name in "AB":
        expect(side(console, name)).not_to_have_attribute("aria-busy", "true")


def test_both_models_get_the_prompt_at_once(compare: Console, script: Script) -> None:
    script.answers += [Answer(["one ", "two"], hold_at=1), Answer(["one ", "two"], hold_at=1)]
    ask(compare, "Hi")
    for name in "AB":
        expect(side(compare, name)).to_contain_text("one")  # Neither waits for the other.
    assert {asked.body["model"] for asked in script.asked} == {"pilot-small", "pilot-large"}
    assert all(asked.body["messages"] == [{"role": "user", "content": "Hi"}] for asked in script.asked)
    compare.button("Stop").click()
    complete(compare)
    assert script.cancelled.wait(5)
    expect(compare.page.get_by_text("Stopped.")).to_have_count(2)


def test_figures_stand_side_by_side(compare: Console) -> None:
    ask(compare, "Hi")
    complete(compare)
    for name, model in (("A", "pilot-small"), ("B", "pilot-large")):
        expect(side(compare, name).get_by_role("heading")).to_have_text(f"{name} · {model}")
        expect(side(compare, name).locator(".measures")).to_have_text(MEASURES)
        expect(side(compare, name).get_by_role("group", name="Where the time went")).to_contain_text(
            "Prefill"
        )
    expect(compare.page.get_by_text("First to begin")).to_have_count(1)


def test_each_side_goes_on_with_its_own_answers(compare: Console, script: Script) -> None:
    page = compare.page
    page.get_by_label("Model A").select_option("pilot-large")
    page.get_by_label("Model B").select_option("pilot-small")
    ask(compare, "One")
    complete(compare)
    compare.button("Settings").click()
    page.get_by_label("Temperature", exact=True).fill("0.5")
    page.get_by_label("System prompt").fill("Be brief.")
    ask(compare, "Two")
    expect(page.locator(".round")).to_have_count(2)
    complete(compare)
    for asked in script.asked[-2:]:
        assert asked.body["temperature"] == 0.5
        assert [each["content"] for each in asked.body["messages"]] == [
            "Be brief.",
            "One",
            "You said: One",
            "Two",
        ]


def feedback(script: Script) -> list[dict[str, Any]]:
    return [call.body for call in script.calls if call.path == "/v1/feedback"]


def test_blind_the_names_come_after_the_choice_which_is_kept(compare: Console, script: Script) -> None:
    script.replies["POST /v1/feedback"] = (200, {})
    compare.page.get_by_label("Blind").check()
    ask(compare, "Hi")
    complete(compare)
    shown = compare.page.locator(".rounds")
    expect(shown).not_to_contain_text("pilot-")
    expect(side(compare, "A").get_by_role("heading")).to_have_text("Model A")
    compare.button("B").click()
    expect(side(compare, "B").get_by_role("heading")).to_have_text(re.compile("B · pilot-"))
    expect(compare.page.get_by_text("Kept as feedback on both answers.")).to_be_visible()
    chosen = side(compare, "B").get_by_role("heading").inner_text().removeprefix("B · ")
    ratings = {each["rating"]: each for each in feedback(script)}
    assert len(feedback(script)) == len(ratings) == 2
    assert ratings["down"]["comment"] == f"In a blind comparison with {chosen}."
    assert ratings["up"]["request_id"] != ratings["down"]["request_id"]


def test_one_side_that_fails_says_why_and_the_other_goes_on(
    compare: Console, script: Script, complaints: Complaints
) -> None:
    complaints.expect("Failed to load resource")
    error = {"message": "The model is too small for this.", "code": "x"}
    script.answers += [Answer(status=400, error=error)]
    ask(compare, "Hi")
    complete(compare)
    expect(compare.page.get_by_role("alert").filter(has_text="too small")).to_be_visible()
    expect(compare.page.locator(".rounds").get_by_text("You said: Hi")).to_be_visible()
    expect(compare.page.get_by_text("Which is better?")).to_have_count(0)


def test_a_look_at_another_page_loses_nothing(compare: Console) -> None:
    ask(compare, "Hi")
    complete(compare)
    compare.go("Help")
    compare.go("Compare")
    expect(side(compare, "B")).to_contain_text("You said: Hi")
    compare.button("Clear").click()
    expect(compare.page.locator(".round")).to_have_count(0)


def test_the_choice_of_models_is_remembered(compare: Console) -> None:
    compare.page.get_by_label("Model A").select_option("pilot-large")
    compare.page.reload()
    expect(compare.page.get_by_label("Model A")).to_have_value("pilot-large")
    expect(compare.page.get_by_label("Model B")).to_have_value("pilot-large")
