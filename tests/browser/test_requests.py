"""What the console sends: model, parameters, messages, key."""

import json

from playwright.sync_api import expect

from browser.consolepage import Console
from browser.scripted import Answer, Script


def test_the_chosen_model_is_asked(console: Console, script: Script) -> None:
    console.model.select_option("pilot-large")
    console.ask("Hi")
    console.wait_for_answer()
    assert script.asked[0].body["model"] == "pilot-large"


def test_embedding_models_are_not_offered(console: Console) -> None:
    expect(console.model.get_by_role("option")).to_have_text(["pilot-small", "pilot-large"])


def test_the_choice_of_a_model_is_remembered(console: Console) -> None:
    console.model.select_option("pilot-large")
    console.page.reload()
    expect(console.model).to_have_value("pilot-large")


def test_untouched_settings_send_nothing_but_the_question(console: Console, script: Script) -> None:
    console.ask("Hi")
    console.wait_for_answer()
    assert script.asked[0].body == {
        "model": "pilot-small",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert script.asked[0].headers["authorization"] is None


def test_parameters_are_carried(console: Console, script: Script) -> None:
    page = console.page
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Temperature", exact=True).fill("0.3")
    page.get_by_label("Top p", exact=True).fill("0.9")
    page.get_by_label("Max tokens").fill("64")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Stop sequences").fill("END\n\\n\\n")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Presence penalty", exact=True).fill("-0.5")
    console.ask("Hi")
    console.wait_for_answer()
    body = script.asked[0].body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    wanted = {"temperature": 0.3, "top_p": 0.9, "max_tokens": 64, "seed": 7, "presence_penalty": -0.5}
    assert {name: body[name] for name in wanted} == wanted
    assert body["stop"] == ["END", "\n\n"]


def test_the_slider_sets_the_number(console: Console, script: Script) -> None:
    console.page.get_by_label("Temperature slider").fill("0.25")
    expect(console.page.get_by_label("Temperature", exact=True)).to_have_value("0.25")
    console.ask("Hi")
    console.wait_for_answer()
    assert script.asked[0].body["temperature"] == 0.25


def test_retry_asks_with_the_settings_of_now(console: Console, script: Script) -> None:
    console.ask("Hi")
    console.wait_for_answer()
    console.page.get_by_label("Temperature", exact=True).fill("1.5")
    console.button("Retry").click()
    expect(console.answer.get_by_label("Answer 2 of 2")).to_be_visible()
    first, second = (asked.body for asked in script.asked)
    assert "temperature" not in first
    assert second["temperature"] == 1.5
    assert second["messages"] == first["messages"]


WRONG = [
    ("Temperature", "3", "Temperature is between 0 and 2."),
    ("Max tokens", "1.5", "Max tokens is a whole number."),
    ("Max tokens", "0", "Max tokens is 1 or more."),
    ("Seed", "lucky", "Seed is a number."),
    ("Stop sequences", "a\nb\nc\nd\ne", "Stop sequences: at most 4."),
]


def test_a_wrong_parameter_is_explained_and_not_sent(console: Console, script: Script) -> None:
    for label, typed, sentence in WRONG:
        field = console.page.get_by_label(label, exact=True)
        field.fill(typed)
        console.ask("Hi")
        expect(console.page.get_by_text(sentence)).to_be_visible()
        expect(field).to_be_focused()
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(console.message).to_have_value("Hi")
        field.fill("")
        expect(console.page.get_by_text(sentence)).to_be_hidden()
    assert not script.asked


def test_settings_survive_a_reload_and_can_be_reset(console: Console, script: Script) -> None:
    console.page.get_by_label("Temperature", exact=True).fill("0.3")
    console.page.reload()
    expect(console.page.get_by_label("Temperature", exact=True)).to_have_value("0.3")
    console.button("Back to the model's defaults").click()
    console.ask("Hi")
    console.wait_for_answer()
    assert "temperature" not in script.asked[0].body


def test_earlier_turns_are_sent_again_and_the_shown_answer_counts(console: Console, script: Script) -> None:
    script.answers += [Answer(["first"]), Answer(["second"])]
    console.ask("One")
    console.wait_for_answer()
    console.button("Retry").click()
    expect(console.answer).to_contain_text("second")
    console.wait_for_answer()
    console.button("Earlier answer").click()
    console.ask("Two")
    console.wait_for_answer()
    said = [(message["role"], message["content"]) for message in script.asked[-1].body["messages"]]
    assert said == [("user", "One"), ("assistant", "first"), ("user", "Two")]


def test_an_edited_question_replaces_what_followed(console: Console, script: Script) -> None:
    for question in ("One", "Two"):
        console.ask(question)
        console.wait_for_answer()
    console.page.locator(".user").first.hover()
    console.button("Edit message").first.click()
    editor = console.page.get_by_role("textbox", name="Edit message")
    expect(editor).to_be_focused()
    editor.fill("Other")
    editor.press("Enter")
    expect(console.page.locator(".bubble")).to_have_text(["Other"])
    console.wait_for_answer()
    assert script.asked[-1].body["messages"] == [{"role": "user", "content": "Other"}]


def test_copy_as_curl_runs_as_it_is_and_hides_the_key(closed_console: Console, script: Script) -> None:
    script.key = "sk-secret"
    closed_console.open("sk-secret")
    page = closed_console.page
    page.get_by_label("Max tokens").fill("64")
    closed_console.message.fill('It\'s "me"')
    closed_console.button("Use this").click()
    closed_console.button("Copy as curl").click()
    closed_console.wait_until("document.querySelector('#announcer').textContent === 'Copied'")
    curl = closed_console.clipboard()
    assert '"Authorization: Bearer $SLIPWAY_API_KEY"' in curl
    assert "sk-secret" not in page.content()
    assert f"{closed_console.url}v1/chat/completions" in curl
    body = json.loads(curl.partition("-d '")[2].removesuffix("'").replace(r"'\''", "'"))
    assert body["max_tokens"] == 64
    assert body["messages"][-1]["content"] == 'It\'s "me"'
    expect(page.get_by_role("link", name="API reference (OpenAPI)")).to_have_attribute(
        "href", f"{closed_console.url}openapi.json"
    )
    expect(page.get_by_label("Base URL", exact=True)).to_have_value(f"{closed_console.url}v1")


def test_copy_as_python_is_python(console: Console) -> None:
    console.page.get_by_label("Stop sequences").fill("END")
    console.button("Use this").click()
    console.page.get_by_role("tab", name="Python").click()
    console.button("Copy as Python").click()
    console.wait_until("document.querySelector('#announcer').textContent === 'Copied'")
    compile(console.clipboard(), "snippet.py", "exec")


def test_starters_are_steady_where_nothing_else_is_set(console: Console, script: Script) -> None:
    console.page.get_by_role("button", name="Ask What is the capital of France?").click()
    console.wait_for_answer()
    assert (script.asked[0].body["temperature"], script.asked[0].body["max_tokens"]) == (0, 300)
    console.ask("More")
    console.wait_for_answer()
    assert "temperature" not in script.asked[1].body
    console.page.get_by_label("Temperature", exact=True).fill("1")
    console.button("New chat").click()
    console.page.get_by_role("button", name="List Name five fruits.").click()
    console.wait_for_answer()
    assert script.asked[2].body["temperature"] == 1
