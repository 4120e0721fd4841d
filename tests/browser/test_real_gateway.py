"""The console against the real gateway: it shows what was recorded, and what it keeps can be read back."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from browser.consolepage import Complaints, Console
from browser.gateway import ADMIN_KEY, MEMBER_KEY, RealGateway, real_gateway
from browser.provider import running_provider
from integration.identity.provider import AUDIENCE
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
    complaints.expect("401 (Unauthorized)")
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


@pytest.fixture
def admin(context: BrowserContext, gateway: RealGateway) -> Console:
    console = Console(context.new_page(), gateway.url)
    console.open(ADMIN_KEY)
    return console


def works(gateway: RealGateway, key: str) -> bool:
    """Whether the gateway takes the key."""
    request = urllib.request.Request(f"{gateway.url}v1/models", headers={"authorization": f"Bearer {key}"})
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        return False
    return True


def secret(console: Console, name: str) -> str:
    box = console.page.get_by_role("dialog", name=f"The key {name}")
    shown = box.get_by_role("textbox", name=f"The key {name}").input_value()
    box.get_by_role("button", name="Done").click()
    return shown


def test_an_admin_makes_rotates_and_revokes_a_key(admin: Console, gateway: RealGateway) -> None:
    admin.go("Keys")
    admin.button("New key").click()
    box = admin.page.get_by_role("dialog", name="New key")
    box.get_by_label("Name").fill("nightly")
    box.get_by_label("Owner").fill("research")
    box.get_by_label("Models").fill("small")
    box.get_by_label("Tokens a day").fill("5000")
    box.get_by_label("Budget a month, US$").fill("12.50")
    admin.button("Make the key").click()
    first = secret(admin, "nightly")
    until(lambda: works(gateway, first), "the new key")
    assert [model["id"] for model in api(gateway, "v1/models", first)["data"]] == ["small"]
    row = admin.page.get_by_role("row", name=re.compile("nightly"))
    expect(row).to_contain_text("research")
    expect(row).to_contain_text("5,000 tokens/day, $12.50 a month")

    admin.button("Change the key nightly").click()
    admin.page.get_by_label("Tokens a day").fill("")
    admin.button("Save").click()
    expect(row).not_to_contain_text("tokens/day")
    expect(row).to_contain_text("$12.50 a month")

    admin.button("Rotate the key nightly").click()
    admin.page.get_by_label("Hours that the old secret still works").fill("0")
    admin.button("Rotate").click()
    second = secret(admin, "nightly")
    assert second != first
    until(lambda: works(gateway, second) and not works(gateway, first), "the rotation")

    admin.button("Revoke the key nightly").click()
    admin.button("Revoke").click()
    expect(row).to_have_count(0)
    until(lambda: not works(gateway, second), "the revocation")

    admin.go("Audit log")
    shown = admin.page.get_by_role("row", name=re.compile("nightly"))
    expect(shown).to_have_count(4)
    expect(shown.first).to_contain_text("key.revoke")


def test_a_key_of_an_object_is_not_offered_for_change(admin: Console) -> None:
    admin.go("Keys")
    row = admin.page.get_by_role("row", name=re.compile("local"))
    expect(row).to_contain_text("Made by an object")
    expect(row.get_by_role("button")).to_have_count(0)


def test_a_member_makes_a_key_within_its_own_bounds(
    opened: Console, gateway: RealGateway, complaints: Complaints
) -> None:
    complaints.expect("403 (Forbidden)")
    opened.go("Keys")
    opened.button("New key").click()
    box = opened.page.get_by_role("dialog", name="New key")
    box.get_by_label("Name").fill("mine")
    box.get_by_label("Requests a minute").fill("500")
    opened.button("Make the key").click()
    expect(box.get_by_role("alert")).to_contain_text("more than your key's own")
    box.get_by_label("Requests a minute").fill("5")
    opened.button("Make the key").click()
    made = secret(opened, "mine")
    until(lambda: works(gateway, made), "the new key")
    me = api(gateway, "v1/me", made)
    assert (me["owner"], me["role"], me["limits"]["requestsPerMinute"]) == ("search", "member", 5)


def test_owners_are_made_and_people_sign_in_as_them(
    context: BrowserContext, tmp_path: Path, complaints: Complaints
) -> None:
    complaints.expect("401 (Unauthorized)")
    with (
        running_provider() as provider,
        real_gateway(tmp_path, oidc_issuer=provider.issuer, oidc_client_id=AUDIENCE) as gateway,
    ):
        admin = Console(context.new_page(), gateway.url)
        admin.open(ADMIN_KEY)
        admin.go("Owners")
        admin.button("New owner").click()
        admin.page.get_by_label("Name", exact=True).fill("ads")
        admin.page.get_by_label("Who signs in").fill("ann")
        admin.page.get_by_label("Models for people").fill("large")
        admin.button("Make the owner").click()
        expect(admin.page.get_by_role("row", name=re.compile("ads"))).to_contain_text("ann")

        until(lambda: offered(gateway), "the provider")
        person = Console(context.new_page(), gateway.url)
        provider.behaviour.subject = "nobody"
        person.page.goto(gateway.url)
        person.key_box.get_by_role("button", name="Sign in with").click()
        expect(person.key_box.get_by_role("alert")).to_contain_text("You are signed in as `nobody`")
        provider.behaviour.subject = "ann"
        person.key_box.get_by_role("button", name="Sign in with").click()
        expect(person.account).to_contain_text("ann")
        expect(person.account).to_contain_text("ads")
        expect(person.model.get_by_role("option")).to_have_text(["large"])
        person.ask("Hi")
        person.wait_for_answer()
        expect(person.answer.locator(".markdown").last).to_have_text("Hello")


def offered(gateway: RealGateway) -> Any:
    with urllib.request.urlopen(f"{gateway.url}v1/sign-in", timeout=10) as response:
        return json.load(response)["oidc"]
