"""The console against the real gateway: it shows what was recorded, and what it keeps can be read back."""

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from browser.consolepage import Complaints, Console
from browser.gateway import ADMIN_KEY, MEMBER_KEY, RealGateway, real_gateway
from integration.waiting import until


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealGateway]:
    with real_gateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def opened(context: BrowserContext, gateway: RealGateway, complaints: Complaints) -> Console:
    complaints.expect("404 (Not Found)")  # A record that is asked for before it is written.
    console = Console(context.new_page(), gateway.url)
    console.open(MEMBER_KEY)
    return console


def api(gateway: RealGateway, path: str, key: str = MEMBER_KEY) -> Any:
    request = urllib.request.Request(gateway.url + path, headers={"authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def ask(console: Console, question: str) -> str:
    """Asks; the request's id."""
    console.ask(question)
    console.wait_for_answer()
    return console.answer.locator(".request-id .id").inner_text()


def test_the_waterfall_is_the_gateways_record(opened: Console, gateway: RealGateway) -> None:
    request_id = ask(opened, "Hi")
    waterfall = opened.answer.get_by_role("group", name="Where the time went")
    expect(waterfall).to_contain_text("Prefill")
    timings = api(gateway, f"v1/requests/{request_id}")["timings"]
    assert timings["prefill_ms"] >= 20
    shown = re.search(r"Prefill (\d+) ms", waterfall.inner_text())
    assert shown is not None
    assert int(shown[1]) == round(timings["prefill_ms"])


def test_feedback_is_stored_and_read_back(opened: Console, gateway: RealGateway) -> None:
    request_id = ask(opened, "Hi")
    opened.button("Bad answer").click()
    form = opened.page.get_by_role("form", name="Comment on this answer")
    form.get_by_label("What was wrong with it?").fill("Too short \N{GRINNING FACE}")
    form.get_by_label("Include this conversation").check()
    form.get_by_role("button", name="Send comment").click()
    expect(form).to_be_hidden()
    (kept,) = api(gateway, f"v1/feedback?request_id={request_id}")["data"]
    told = {"rating": "down", "comment": "Too short \N{GRINNING FACE}", "model": "large", "key": "local"}
    assert {name: kept[name] for name in told} == {**told, "model": opened.model.input_value()}
    assert [message["role"] for message in kept["messages"]] == ["user", "assistant"]
    opened.go("Feedback")
    expect(opened.page.get_by_role("cell", name=request_id)).to_be_visible()


def test_usage_and_limits_show_what_was_used(opened: Console, gateway: RealGateway) -> None:
    ask(opened, "Hi")

    until(lambda: api_rows(gateway), "a usage record")
    opened.go("Usage")
    table = opened.page.get_by_role("table", name="Usage by model")
    foot = table.locator("tfoot td")
    expect(foot.first).to_have_text(str(sum(row["requests"] for row in api_rows(gateway))))
    level = next(each for each in api(gateway, "v1/limits")["data"] if each["limit"] == "requests_per_minute")
    limit = opened.page.locator(".limit", has_text="Requests a minute")
    expect(limit).to_contain_text(f"{level['remaining']}left of 50")
    expect(opened.page.locator(".limit", has_text="Budget of the month")).to_contain_text("left of $5.00")


def api_rows(gateway: RealGateway) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = api(gateway, "v1/usage?group_by=day,model")["data"]
    return rows


def test_a_refused_key_is_explained(
    context: BrowserContext, gateway: RealGateway, complaints: Complaints
) -> None:
    complaints.expect("401 (Unauthorized)", "404 (Not Found)")
    console = Console(context.new_page(), gateway.url)
    console.page.goto(f"{gateway.url}#key=sk-wrong")
    expect(console.key_box.get_by_role("alert")).to_contain_text("This key was not accepted")
    console.key_box.get_by_label("API key", exact=True).fill(ADMIN_KEY)
    console.button("Use this key").click()
    expect(console.model).to_be_enabled()


def test_a_model_that_stops_says_why(opened: Console, gateway: RealGateway) -> None:
    gateway.state.endpoints(small=[f"!{gateway.upstream.address}"], large=[gateway.upstream.address])
    try:
        opened.go("Models")
        card = opened.page.locator(".card", has=opened.page.get_by_role("heading", name="small"))
        expect(card).to_contain_text("Not ready", timeout=15_000)
        expect(card).to_contain_text("Its engine is starting.")
    finally:
        gateway.state.endpoints(small=[gateway.upstream.address], large=[gateway.upstream.address])


def test_two_models_answer_side_by_side(opened: Console, gateway: RealGateway) -> None:
    opened.go("Compare")
    box = opened.page.get_by_label("Message to both")
    box.fill("Hi")
    box.press("Enter")
    expect(opened.page.get_by_text("Which is better?")).to_be_visible()
    opened.button("A").click()
    expect(opened.page.get_by_text("Kept as feedback on both answers.")).to_be_visible()
    ratings = [each["rating"] for each in api(gateway, "v1/feedback", ADMIN_KEY)["data"][:2]]
    assert sorted(ratings) == ["down", "up"]
