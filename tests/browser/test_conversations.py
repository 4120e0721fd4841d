"""Conversations: kept in the browser, found, branched, exported, imported; what stands under an answer."""

import json
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, expect

from browser.consolepage import Complaints, Console
from browser.scripted import TIMINGS, Answer, Call, Reply, Script

FORMAT = "slipway-conversations"


def conversations(console: Console) -> Locator:
    return console.page.locator("#conversation-list li")


def ask(console: Console, question: str) -> None:
    console.ask(question)
    console.wait_for_answer()


def chats(console: Console, *questions: str) -> None:
    """A conversation for each question, the last one open."""
    for question in questions:
        console.button("New chat").click()
        ask(console, question)


def exported(console: Console) -> dict[str, Any]:
    with console.page.expect_download() as download:
        console.button("Export all conversations").click()
    document: dict[str, Any] = json.loads(Path(download.value.path()).read_text())
    return document


def import_file(console: Console, content: str | bytes) -> Locator:
    """Imports a file; where the console says what came of it."""
    with console.page.expect_file_chooser() as chooser:
        console.button("Import conversations").click()
    data = content if isinstance(content, bytes) else content.encode()
    chooser.value.set_files({"name": "c.json", "mimeType": "application/json", "buffer": data})
    return console.page.locator("#conversation-note")


def test_conversations_are_kept_and_opened_again(console: Console, script: Script) -> None:
    chats(console, "One", "Two")
    expect(conversations(console)).to_have_text(["Two", "One"])
    console.page.get_by_role("link", name="One").click()
    expect(console.page.locator(".bubble")).to_have_text("One")
    expect(console.page.get_by_role("link", name="One")).to_have_attribute("aria-current", "page")
    console.page.reload()
    expect(console.page.locator(".bubble")).to_have_text("One")
    expect(console.answer.locator(".markdown").last).to_have_text("You said: One")
    ask(console, "More")
    assert [each["content"] for each in script.asked[-1].body["messages"]] == ["One", "You said: One", "More"]
    expect(conversations(console)).to_have_text(["One", "Two"])


def test_the_model_of_a_conversation_is_chosen_with_it(console: Console) -> None:
    chats(console, "One")
    console.model.select_option("pilot-large")
    chats(console, "Two")
    console.page.get_by_role("link", name="One").click()
    expect(console.model).to_have_value("pilot-small")


def test_conversations_are_searched_renamed_and_deleted(console: Console) -> None:
    chats(console, "Whales and ships", "Recipes")
    search = console.page.get_by_label("Search conversations")
    search.fill("ships")
    expect(conversations(console)).to_have_text(["Whales and ships"])
    search.fill("you said: rec")  # In an answer.
    expect(conversations(console)).to_have_text(["Recipes"])
    search.fill("nothing of the kind")
    expect(console.page.get_by_text("Nothing found.")).to_be_visible()
    search.fill("")
    conversations(console).first.hover()
    console.button("Rename “Recipes”").click()
    box = console.page.get_by_role("dialog", name="Rename")
    expect(box.get_by_label("Title")).to_be_focused()
    box.get_by_label("Title").fill("Bread")
    box.get_by_label("Title").press("Enter")
    expect(conversations(console)).to_have_text(["Bread", "Whales and ships"])
    ask(console, "More")  # Of the same conversation: the title stays.
    expect(conversations(console)).to_have_text(["Bread", "Whales and ships"])
    conversations(console).first.hover()
    console.button("Delete “Bread”").click()
    console.button("Cancel").click()
    expect(conversations(console)).to_have_count(2)
    conversations(console).first.hover()
    console.button("Delete “Bread”").click()
    console.button("Delete").click()
    expect(conversations(console)).to_have_text(["Whales and ships"])
    expect(console.page.get_by_text("What shall we try?")).to_be_visible()
    console.page.reload()
    expect(conversations(console)).to_have_text(["Whales and ships"])


def test_a_deleted_conversation_does_not_come_back_with_its_answer(console: Console, script: Script) -> None:
    script.answers.append(Answer(["one ", "two"], hold_at=1))
    console.ask("Hi")
    expect(console.answer).to_contain_text("one")
    conversations(console).first.hover()
    console.button("Delete “Hi”").click()
    console.button("Delete").click()
    assert script.cancelled.wait(5)
    chats(console, "Other")
    expect(conversations(console)).to_have_text(["Other"])


def test_a_deleted_conversation_does_not_come_back_with_where_its_time_went(
    console: Console, script: Script
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def timings(_: Call) -> Reply:
        asked.set()
        assert go_on.wait(10)
        return 200, TIMINGS

    script.replies["GET /v1/requests/"] = timings
    ask(console, "Hi")
    assert asked.wait(5)
    conversations(console).first.hover()
    console.button("Delete “Hi”").click()
    console.button("Delete").click()
    expect(conversations(console)).to_have_count(0)
    with console.page.expect_response("**/v1/requests/*"):
        go_on.set()
    chats(console, "Other")
    expect(conversations(console)).to_have_text(["Other"])


def test_the_system_prompt_belongs_to_its_conversation(console: Console, script: Script) -> None:
    prompt = console.page.get_by_label("System prompt")
    prompt.fill("Be brief.")
    ask(console, "One")
    chats(console, "Two")
    expect(prompt).to_have_value("")
    assert script.asked[-1].body["messages"] == [{"role": "user", "content": "Two"}]
    console.page.get_by_role("link", name="One").click()
    expect(prompt).to_have_value("Be brief.")
    ask(console, "More")
    assert script.asked[-1].body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_an_edit_makes_a_branch_and_both_stay(console: Console, script: Script) -> None:
    ask(console, "One")
    ask(console, "Two")
    console.page.locator(".user").first.hover()
    console.button("Edit message").first.click()
    console.page.get_by_role("textbox", name="Edit message").fill("Other")
    console.button("Send").first.click()
    console.wait_for_answer()
    bubbles = console.page.locator(".bubble")
    expect(bubbles).to_have_text(["Other"])
    expect(console.page.get_by_label("Message 2 of 2")).to_be_attached()
    console.page.locator(".user").first.hover()
    console.button("Earlier message").click()
    expect(bubbles).to_have_text(["One", "Two"])
    expect(console.button("Later message")).to_be_focused()
    console.page.reload()  # What is shown is kept too.
    expect(bubbles).to_have_text(["One", "Two"])
    console.page.locator(".user").first.hover()
    console.button("Later message").click()
    ask(console, "More")
    assert [each["content"] for each in script.asked[-1].body["messages"]] == [
        "Other",
        "You said: Other",
        "More",
    ]


def test_an_earlier_answer_can_be_made_anew(console: Console, script: Script) -> None:
    script.answers += [Answer(["first"]), Answer(["second"]), Answer(["anew"])]
    ask(console, "One")
    ask(console, "Two")
    console.page.locator(".assistant").first.hover()
    console.button("Retry").first.click()
    expect(console.answer).to_contain_text("anew")
    console.wait_for_answer()
    expect(console.page.locator(".bubble")).to_have_text(["One"])
    console.button("Earlier answer").click()
    expect(console.page.locator(".assistant > .markdown")).to_have_text(["first", "second"])


def test_an_answer_goes_on_while_another_conversation_is_read(console: Console, script: Script) -> None:
    chats(console, "Other")
    console.button("New chat").click()
    script.answers.append(Answer(["one ", "two"], hold_at=1))
    console.ask("Slow")
    expect(console.answer).to_contain_text("one")
    console.page.get_by_role("link", name="Other").click()
    expect(console.page.locator(".bubble")).to_have_text("Other")
    expect(console.button("Send")).to_be_visible()
    console.page.get_by_role("link", name="Slow").click()
    expect(console.answer).to_contain_text("one")
    expect(console.button("Stop")).to_be_visible()
    console.go("Help")
    script.release()
    console.page.get_by_role("navigation").get_by_role("link", name="Chat").click()
    expect(console.answer).to_contain_text("one two")
    console.wait_for_answer()


def test_an_answer_that_a_closed_page_cut_off_keeps_what_came(console: Console, script: Script) -> None:
    script.answers.append(Answer(["one ", "two"], hold_at=1))
    console.ask("Hi")
    expect(console.answer).to_contain_text("one")
    console.page.reload()
    expect(console.answer.get_by_text("Stopped.")).to_be_visible()
    expect(console.page.locator(".bubble")).to_have_text("Hi")
    ask(console, "Again")


def test_an_export_imported_elsewhere_is_the_same(console: Console, script: Script) -> None:
    script.answers += [Answer(["a **bold** word"]), Answer(["second"])]
    console.page.get_by_label("System prompt").fill("Be brief.")
    ask(console, "One")
    console.button("Retry").click()
    expect(console.answer.get_by_label("Answer 2 of 2")).to_be_visible()
    console.wait_for_answer()
    chats(console, "Two")
    document = exported(console)
    assert (document["format"], document["version"], len(document["conversations"])) == (FORMAT, 1, 2)

    browser = console.page.context.browser
    assert browser is not None
    context = browser.new_context()
    try:
        other = Console(context.new_page(), console.url)
        other.open()
        expect(import_file(other, json.dumps(document))).to_have_text("2 imported.")
        expect(conversations(other)).to_have_text(["Two", "One"])
        assert exported(other) == document
        other.page.get_by_role("link", name="One").click()
        expect(other.answer.locator(".markdown").last).to_have_text("second")
        other.button("Earlier answer").click()
        expect(other.answer.locator("strong")).to_have_text("bold")
        expect(import_file(other, json.dumps(document))).to_have_text("0 imported, 2 were here already.")
    finally:
        context.close()


def test_an_import_never_changes_what_is_here(console: Console) -> None:
    ask(console, "One")
    document = exported(console)
    (turn, *_) = document["conversations"][0]["turns"].values()
    turn["content"] = "Another one"
    expect(import_file(console, json.dumps(document))).to_have_text("1 imported.")
    expect(conversations(console)).to_have_count(2)
    assert {console.page.locator(".conversation").nth(index).inner_text() for index in (0, 1)} == {
        "One",
        "Another one",
    }


def turn(parent: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"parent": parent, "role": "user", "content": "x", "created": 1, "shown": None, **fields}


def document(turns: Any, **fields: Any) -> dict[str, Any]:
    conversation = {"id": "c1", "title": "", "created": 1, "updated": 1, "shown": "a", "turns": turns}
    return {"format": FORMAT, "version": 1, "conversations": [conversation | fields]}


UNREADABLE: list[tuple[Any, str]] = [
    (b"\xff\xfe", "The file is not JSON."),
    ("[]", "The file does not hold conversations of this console."),
    (json.dumps({"format": FORMAT, "version": 2, "conversations": []}), "The file has version 2;"),
    (json.dumps(document(None)), "Conversation 1 of the file has no id or no turns."),
    (json.dumps(document({"a": turn()}, id="../x")), "Conversation 1 of the file has no id or no turns."),
    (json.dumps(document({"a": turn(role="system")})), "has a turn that cannot be read."),
    (json.dumps(document({"a": turn(content={"x": 1})})), "has a turn that cannot be read."),
    (json.dumps(document({"__proto__x y": turn()})), "has a turn that cannot be read."),
    (json.dumps(document({"a": turn(parent="nobody")})), "has a turn that answers none."),
    (json.dumps(document({"a": turn(parent="constructor")})), "has a turn that answers none."),
]


def test_a_file_that_cannot_be_read_is_explained_and_changes_nothing(console: Console) -> None:
    ask(console, "One")
    for content, sentence in UNREADABLE:
        expect(import_file(console, content)).to_contain_text(sentence)
        expect(conversations(console)).to_have_text(["One"])


def test_rings_in_a_file_do_no_harm(console: Console) -> None:
    ring = {"a": turn("b", shown="b"), "b": turn("a", shown="a"), "c": turn(shown="c")}
    expect(import_file(console, json.dumps(document(ring, shown="c")))).to_have_text("1 imported.")
    conversations(console).first.click()
    expect(console.page.locator(".bubble")).to_have_text("x")


HARM = "<img src=x onerror='window.harm = 1'>"


def test_nothing_in_an_imported_file_runs(console: Console) -> None:
    answer = turn(
        "a",
        role="assistant",
        content=f"{HARM} [x](javascript:window.harm=1)",
        model=HARM,
        reasoning=HARM,
        requestId=HARM,
        error={"message": HARM, "status": 500},
        parameters={"messages": [1], "temperature": 1, "model": "other"},
        stages=[{"name": "queue' onload='window.harm=1", "ms": 5}],
        feedback={"rating": HARM},
    )
    turns = {"a": turn(content=HARM, shown="b"), "b": answer}
    content = json.dumps(document(turns, title=HARM, system=HARM))
    expect(import_file(console, content)).to_have_text("1 imported.")
    conversations(console).first.click()
    expect(console.page.locator(".bubble")).to_have_text(HARM)
    expect(console.page.locator(".conversation")).to_have_text(HARM)
    expect(console.page.locator("#sidebar img, #turns img")).to_have_count(1)  # The sign beside the name.
    assert console.page.evaluate("window.harm") is None


def test_where_the_time_went_is_shown_as_the_gateway_measured_it(console: Console, script: Script) -> None:
    ask(console, "Hi")
    waterfall = console.answer.get_by_role("group", name="Where the time went")
    expect(waterfall).to_have_text("Queue 2 msPrefill 118 msDecode 1.94 s")
    grown = waterfall.locator(".waterfall-bar .stage").evaluate_all(
        "parts => parts.map((p) => p.offsetWidth)"
    )
    assert grown[2] > 10 * grown[1] > grown[0]
    assert [call.path for call in script.calls if "requests" in call.path] == ["/v1/requests/req-1"]
    console.page.reload()
    expect(waterfall).to_contain_text("Prefill 118 ms")


def test_without_the_gateways_measure_the_browsers_own_is_shown(
    console: Console, script: Script, complaints: Complaints
) -> None:
    complaints.expect("Failed to load resource")
    script.replies["GET /v1/requests/"] = (503, {"error": {"message": "The database is away."}})
    script.answers.append(Answer(["one ", "two"]))
    ask(console, "Hi")
    waterfall = console.answer.get_by_role("group", name="Where the time went")
    expect(waterfall).to_contain_text("Wait")
    expect(waterfall).to_contain_text("Decode")
    expect(console.error).to_have_count(0)


def given(script: Script) -> list[dict[str, Any]]:
    return [call.body for call in script.calls if call.path == "/v1/feedback"]


def test_a_thumb_is_kept_and_a_comment_can_follow(console: Console, script: Script) -> None:
    script.replies["POST /v1/feedback"] = (200, {"object": "feedback"})
    ask(console, "Hi")
    console.button("Bad answer").click()
    form = console.page.get_by_role("form", name="Comment on this answer")
    expect(form).to_be_visible()
    assert given(script) == [{"request_id": "req-1", "rating": "down"}]
    expect(console.button("Bad answer")).to_have_attribute("aria-pressed", "true")
    form.get_by_label("What was wrong with it?").fill("Rude")
    form.get_by_label("What should it have said?").fill("Hello")
    form.get_by_role("button", name="Send comment").click()
    expect(form).to_be_hidden()
    assert given(script)[-1] == {
        "request_id": "req-1",
        "rating": "down",
        "comment": "Rude",
        "expected": "Hello",
    }
    console.page.reload()
    expect(console.button("Bad answer")).to_have_attribute("aria-pressed", "true")
    expect(console.button("Good answer")).to_have_attribute("aria-pressed", "false")


def test_the_conversation_goes_along_only_where_the_person_agrees(console: Console, script: Script) -> None:
    script.replies["POST /v1/feedback"] = (200, {"object": "feedback"})
    ask(console, "Hi")
    console.button("Good answer").click()
    form = console.page.get_by_role("form", name="Comment on this answer")
    agreed = form.get_by_label("Include this conversation, so that it can be used for improvement")
    expect(agreed).not_to_be_checked()
    agreed.check()
    form.get_by_role("button", name="Send comment").click()
    expect(form).to_be_hidden()
    assert "messages" not in given(script)[0]
    assert given(script)[1]["messages"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "You said: Hi"},
    ]


def test_feedback_that_cannot_be_kept_is_explained(
    console: Console, script: Script, complaints: Complaints
) -> None:
    complaints.expect("Failed to load resource")
    script.replies["POST /v1/feedback"] = (503, {"error": {"message": "The database cannot be reached."}})
    ask(console, "Hi")
    console.button("Good answer").click()
    expect(console.answer.get_by_role("alert")).to_have_text("The database cannot be reached.")
    expect(console.button("Good answer")).to_have_attribute("aria-pressed", "false")


def test_a_browser_that_keeps_nothing_says_so(closed_console: Console) -> None:
    closed_console.page.add_init_script("indexedDB.open = () => { throw new Error('no') }")
    closed_console.open()
    expect(closed_console.page.get_by_text("This browser keeps nothing")).to_be_visible()
    ask(closed_console, "One")
    chats(closed_console, "Two")
    closed_console.page.get_by_role("link", name="One").click()
    expect(closed_console.page.locator(".bubble")).to_have_text("One")
