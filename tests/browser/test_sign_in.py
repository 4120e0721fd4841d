"""Sign-in by OpenID Connect: what is sent and checked, how long it holds, what is said when it fails."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.consolepage import Complaints, Console
from browser.provider import Provider, running_provider
from browser.samples import ADMIN, in_use
from browser.scripted import Call, Script, ScriptedGateway

FAILED_LOAD = "Failed to load resource"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def offered(closed_console: Console, script: Script, provider: Provider, complaints: Complaints) -> Console:
    """The console of a gateway that takes tokens of the provider, and the key `sk-ops`."""
    complaints.expect(FAILED_LOAD)  # The first question is asked without a key.
    in_use(script, {**ADMIN, "kind": "oidc", "name": "ann"})
    script.replies["GET /v1/sign-in"] = (200, {"oidc": provider.description})
    script.connect = provider.issuer
    script.accepts = lambda given: given.startswith("Bearer e") or given == "Bearer sk-ops"
    closed_console.page.goto(f"{closed_console.url}#/help")
    return closed_console


def begin(console: Console, provider: Provider) -> None:
    host = provider.issuer.removeprefix("http://")
    console.key_box.get_by_role("button", name=f"Sign in with {host}").click()


def claims(token: str) -> Any:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_a_person_signs_in_and_comes_back_where_it_was(
    offered: Console, provider: Provider, script: Script
) -> None:
    begin(offered, provider)
    expect(offered.account).to_contain_text("ann")
    expect(offered.page.get_by_role("heading", level=1)).to_have_text("Help")
    assert offered.page.url == f"{offered.url}#/help"  # No code stays in the address.
    (begun,) = provider.behaviour.begun
    assert begun["response_type"] == "code"
    assert begun["client_id"] == "slipway-console"
    assert begun["scope"] == "openid email offline_access"
    assert begun["code_challenge_method"] == "S256"
    assert begun["redirect_uri"] == offered.url
    assert min(len(begun[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    offered.page.get_by_role("navigation").get_by_role("link", name="Chat").click()
    offered.ask("Hi")
    offered.wait_for_answer()
    sent = script.asked[0].headers["authorization"].removeprefix("Bearer ")
    assert claims(sent)["sub"] == "ann"


def test_a_sign_in_ends_with_its_tab_or_by_hand(offered: Console, provider: Provider) -> None:
    begin(offered, provider)
    expect(offered.account).to_contain_text("ann")
    offered.page.reload()
    expect(offered.account).to_contain_text("ann")
    other = Console(offered.page.context.new_page(), offered.url)
    other.page.goto(other.url)
    expect(other.key_box).to_be_visible()
    assert offered.page.evaluate("Object.keys(localStorage).filter((name) => /key|sign/.test(name))") == []
    offered.account.click()
    expect(offered.key_box).to_contain_text("Person")
    offered.button("Sign out").click()
    expect(offered.account).to_contain_text("Sign in")
    assert offered.stored("sessionStorage", "sign-in") is None


def test_a_token_about_to_end_is_renewed_before_it_is_used(
    offered: Console, provider: Provider, script: Script
) -> None:
    provider.behaviour.seconds = 30
    begin(offered, provider)
    expect(offered.account).to_contain_text("ann")
    offered.page.get_by_role("navigation").get_by_role("link", name="Chat").click()
    offered.ask("Hi")
    offered.wait_for_answer()
    grants = [form["grant_type"] for form in provider.behaviour.exchanged]
    assert grants[0] == "authorization_code"
    assert set(grants[1:]) == {"refresh_token"}
    assert claims(script.asked[0].headers["authorization"])["count"] > 1


def test_a_sign_in_that_ended_is_asked_for_again(
    offered: Console, provider: Provider, script: Script
) -> None:
    begin(offered, provider)
    expect(offered.account).to_contain_text("ann")
    script.accepts = lambda given: False
    offered.go("Keys")
    expect(offered.key_box.get_by_role("alert")).to_contain_text("Your sign-in has ended")
    script.accepts = lambda given: given.startswith("Bearer e")
    begin(offered, provider)
    expect(offered.page.get_by_role("table", name="Keys")).to_be_visible()


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "refused": ({"refuse": "access_denied"}, "The sign-in was refused: access denied"),
    "state": ({"state": "forged"}, "This sign-in was not begun in this tab."),
    "nonce": ({"nonce": "forged"}, "The provider answered another sign-in than this one."),
}


@pytest.mark.parametrize("wrong", list(WRONG))
def test_what_goes_wrong_is_a_sentence_and_signs_nobody_in(
    offered: Console, provider: Provider, wrong: str
) -> None:
    changes, sentence = WRONG[wrong]
    for name, value in changes.items():
        setattr(provider.behaviour, name, value)
    begin(offered, provider)
    expect(offered.key_box.get_by_role("alert")).to_contain_text(sentence)
    assert offered.stored("sessionStorage", "sign-in") is None
    assert "?" not in offered.page.url


def test_a_code_that_nobody_asked_for_is_not_used(offered: Console, provider: Provider) -> None:
    offered.page.goto(f"{offered.url}?code=stolen&state=x")
    expect(offered.key_box.get_by_role("alert")).to_contain_text("This sign-in was not begun in this tab.")
    assert provider.behaviour.exchanged == []


def test_a_key_works_beside_it(offered: Console) -> None:
    offered.key_box.get_by_label("API key", exact=True).fill("sk-ops")
    offered.button("Use this key").click()
    expect(offered.account).to_contain_text("ann")


def test_a_gateway_without_a_provider_offers_keys_only(
    closed_console: Console, scripted: ScriptedGateway, complaints: Complaints
) -> None:
    complaints.expect(FAILED_LOAD)
    in_use(scripted.script)
    asked: list[Call] = []

    def nobody(call: Call) -> tuple[int, Any]:
        asked.append(call)
        return 200, {"oidc": None}

    scripted.script.replies["GET /v1/sign-in"] = nobody
    closed_console.page.goto(closed_console.url)
    expect(closed_console.key_box).to_be_visible()
    expect(closed_console.key_box.get_by_role("button", name="Sign in with")).to_have_count(0)
    assert asked
