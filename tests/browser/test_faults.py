"""What a person is told when something goes wrong, and that the console finds its way back."""

import pytest
from playwright.sync_api import expect

from browser.consolepage import Complaints, Console
from browser.scripted import Answer, Script, ScriptedGateway

FAILED_LOAD = "Failed to load resource"
READY: dict[str, object] = {"ready": True, "reason": None, "models": []}


def envelope(message: str, code: str | None = None) -> dict[str, object]:
    return {"message": message, "type": "invalid_request_error", "param": None, "code": code}


def test_the_gateways_sentence_is_shown(console: Console, script: Script, complaints: Complaints) -> None:
    complaints.expect(FAILED_LOAD)
    sentence = "The prompt has 3000 tokens; this model takes 2048."
    script.answers.append(Answer(status=400, error=envelope(sentence, "context_length_exceeded")))
    console.ask("Hi")
    expect(console.error).to_have_text(sentence)
    expect(console.button("Copy the request id req-0")).to_be_visible()
    console.button("Retry").click()
    expect(console.answer).to_contain_text("You said: Hi")


def test_a_limit_says_when_to_try_again(console: Console, script: Script, complaints: Complaints) -> None:
    complaints.expect(FAILED_LOAD)
    error = envelope("This key has used its 10 requests a minute.", "rate_limit_exceeded")
    script.answers.append(Answer(status=429, error=error, headers={"retry-after": "12"}))
    console.ask("Hi")
    expect(console.error).to_contain_text("10 requests a minute. Try again in 12 seconds.")


def test_an_answer_that_is_no_envelope_is_not_shown_as_it_is(
    console: Console, script: Script, complaints: Complaints
) -> None:
    complaints.expect(FAILED_LOAD)
    script.answers.append(Answer(status=502, error="<html>nginx</html>"))
    console.ask("Hi")
    expect(console.error).to_have_text("The gateway answered 502 and did not say why.")


def test_an_error_in_the_middle_keeps_what_came(console: Console, script: Script) -> None:
    error = {"message": "The engine stopped.", "type": "server_error", "code": "engine_lost"}
    script.answers.append(Answer(["Half of it", {"error": error}], finish=None))
    console.ask("Hi")
    expect(console.error).to_have_text("The answer broke off. The engine stopped.")
    expect(console.answer.locator(".markdown").last).to_have_text("Half of it")
    expect(console.button("Send")).to_be_visible()


def test_a_stream_that_breaks_off_is_not_taken_for_an_answer(console: Console, script: Script) -> None:
    script.answers.append(Answer(["Half of it"], finish=None))
    console.ask("Hi")
    expect(console.error).to_contain_text("The answer ended before it was complete.")
    expect(console.answer.locator(".markdown").last).to_have_text("Half of it")


def test_a_question_without_an_answer_joins_the_next(
    console: Console, script: Script, complaints: Complaints
) -> None:
    complaints.expect(FAILED_LOAD)
    script.answers.append(Answer(status=500, error=envelope("Lost.")))
    console.ask("One")
    expect(console.error).to_be_visible()
    console.ask("Two")
    expect(console.answer).to_contain_text("You said:")
    console.wait_for_answer()
    assert script.asked[-1].body["messages"] == [{"role": "user", "content": "One\n\nTwo"}]


def test_stop_tells_the_gateway(console: Console, script: Script) -> None:
    script.answers.append(Answer(["one ", "two"], hold_at=1))
    console.ask("Hi")
    expect(console.answer).to_contain_text("one")
    console.button("Stop").click()
    assert script.cancelled.wait(5)
    expect(console.error).to_have_count(0)


def test_a_gateway_that_is_gone_is_named_and_found_again(
    console: Console, script: Script, complaints: Complaints
) -> None:
    complaints.expect(FAILED_LOAD)
    console.page.context.set_offline(True)
    console.ask("Hi")
    expect(console.error).to_have_text("The gateway cannot be reached. Is it still running?")
    status = console.page.locator("#starting")
    expect(status).to_contain_text("cannot be reached")
    console.page.context.set_offline(False)
    expect(status).to_be_hidden()
    console.button("Retry").click()
    expect(console.answer).to_contain_text("You said: Hi")


def starting(done: int) -> tuple[int, dict[str, object]]:
    progress = {"stage": "load", "done": done, "total": 100, "unit": "%", "eta_s": 9}
    model = {"name": "pilot-small", "ready": False, "reason": "its engine is starting.", **progress}
    return 503, {"ready": False, "reason": "no model has a ready engine", "models": [model]}


def test_a_start_shows_its_progress_and_ends_by_itself(
    closed_console: Console, script: Script, complaints: Complaints
) -> None:
    complaints.expect(FAILED_LOAD)
    models, script.models = script.models, []
    script.readyz = starting(40)
    page = closed_console.page
    page.clock.install()
    page.goto(closed_console.url)
    expect(page.locator("#starting")).to_contain_text("Loading the weights, 40 %, about 9 s left")
    expect(page.get_by_role("progressbar")).to_have_js_property("value", 0.4)
    script.readyz = starting(80)
    page.clock.fast_forward(2_000)
    expect(page.locator("#starting")).to_contain_text("80 %")
    script.models = models
    script.readyz = (200, READY)
    page.clock.fast_forward(2_000)
    expect(closed_console.model).to_be_enabled()
    expect(page.locator("#starting")).to_be_hidden()


def test_only_the_chosen_model_is_spoken_of(closed_console: Console, script: Script) -> None:
    reason = "its engine is starting. Try again in a few seconds."
    large = {"name": "pilot-large", "ready": False, "reason": reason}
    script.readyz = (
        200,
        {"ready": True, "reason": None, "models": [{"name": "pilot-small", "ready": True}, large]},
    )
    closed_console.open()
    status = closed_console.page.locator("#starting")
    expect(closed_console.page.locator("#model-dot")).to_have_attribute("data-state", "ready")
    expect(status).to_be_hidden()
    closed_console.model.select_option("pilot-large")
    expect(status).to_have_text("pilot-large: Its engine is starting.")


def test_a_question_asked_too_early_is_answered_when_the_model_is_ready(
    closed_console: Console, script: Script, complaints: Complaints
) -> None:
    complaints.expect(FAILED_LOAD)
    script.readyz = starting(40)
    script.answers.append(Answer(status=503, error=envelope("The model is starting.", "model_not_ready")))
    closed_console.page.clock.install()
    closed_console.open()
    closed_console.ask("Hi")
    expect(closed_console.answer).to_contain_text("Waiting for the model: Loading the weights, 40 %")
    script.readyz = (200, READY)
    closed_console.page.clock.fast_forward(2_000)
    expect(closed_console.answer).to_contain_text("You said: Hi")


def test_a_gateway_without_chat_models_says_so_and_takes_up_the_first(
    closed_console: Console, script: Script
) -> None:
    models, script.models = script.models, script.models[2:]
    page = closed_console.page
    page.clock.install()
    page.goto(closed_console.url)
    expect(page.get_by_text("This gateway serves no chat model yet.")).to_be_visible()
    expect(closed_console.model).to_be_disabled()
    script.models = models
    page.clock.fast_forward(5_000)
    expect(closed_console.model).to_be_enabled()
    expect(page.get_by_text("Ask anything")).to_be_visible()


@pytest.mark.parametrize("kept", ["this tab", "this browser"])
def test_a_key_is_kept_no_longer_than_asked(
    closed_console: Console, scripted: ScriptedGateway, complaints: Complaints, kept: str
) -> None:
    complaints.expect(FAILED_LOAD)
    scripted.script.key = "sk-right"
    page = closed_console.page
    page.goto(closed_console.url)
    box = closed_console.key_box
    expect(box).to_contain_text("This gateway asks for a key.")
    expect(box.get_by_label("API key", exact=True)).to_be_focused()
    box.get_by_label("API key", exact=True).fill("sk-right")
    if kept == "this browser":
        box.get_by_label("Remember it in this browser").check()
    box.get_by_role("button", name="Use this key").click()
    expect(closed_console.model).to_be_enabled()
    closed_console.ask("Hi")
    closed_console.wait_for_answer()
    assert scripted.script.asked[0].headers["authorization"] == "Bearer sk-right"
    page.reload()
    expect(closed_console.model).to_be_enabled()

    other = Console(page.context.new_page(), closed_console.url)
    other.page.goto(other.url)
    if kept == "this browser":
        expect(other.model).to_be_enabled()
        other.account.click()
        other.button("Sign out").click()
        assert other.stored("localStorage", "key") is None
    else:
        expect(other.key_box).to_be_visible()
        assert other.stored("localStorage", "key") is None


def test_a_wrong_key_is_explained(closed_console: Console, script: Script, complaints: Complaints) -> None:
    complaints.expect(FAILED_LOAD)
    closed_console.open()
    script.key = "sk-right"
    closed_console.account.click()
    closed_console.key_box.get_by_label("API key", exact=True).fill("sk-wrong")
    closed_console.button("Use this key").click()
    expect(closed_console.key_box.get_by_role("alert")).to_contain_text(
        "This key was not accepted: it may be cut short, expired, disabled"
    )
    expect(closed_console.key_box.get_by_label("API key", exact=True)).to_have_attribute(
        "aria-invalid", "true"
    )


def test_a_key_that_expires_is_noticed_at_the_next_question(
    closed_console: Console, script: Script, complaints: Complaints
) -> None:
    complaints.expect(FAILED_LOAD)
    script.key = "sk-old"
    closed_console.open("sk-old")
    script.key = "sk-new"
    closed_console.ask("Hi")
    closed_console.key_box.get_by_label("API key", exact=True).fill("sk-new")
    closed_console.button("Use this key").click()
    closed_console.button("Retry").click()
    expect(closed_console.answer).to_contain_text("You said: Hi")


def test_a_key_in_the_address_leaves_it_at_once(closed_console: Console, script: Script) -> None:
    script.key = "sk-link"
    closed_console.open("sk-link")
    assert closed_console.page.url == closed_console.url
    assert closed_console.stored("sessionStorage", "key") == "sk-link"
    assert closed_console.stored("localStorage", "key") is None
