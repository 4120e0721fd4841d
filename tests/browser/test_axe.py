"""axe-core over every page and box, in both themes and on a phone: no fault of any level."""

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from browser.consolepage import Console
from browser.samples import in_use
from browser.scripted import Answer, Script
from browser.test_answers import RICH

PAGES = [
    "compare",
    "usage",
    "keys",
    "owners",
    "models",
    "fine-tuning",
    "fine-tuning/ftjob-run",
    "batches",
    "feedback",
    "audit",
    "help",
]
WIDTHS = {"wide": 1280, "phone": 360}


def faults(page: Page) -> list[str]:
    """What axe-core finds, every level of it."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['impact']}: {each['id']} at {node['target']}: {node['failureSummary']}"
        for each in found
        for node in each["nodes"]
    ]


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(WIDTHS))
def used_console(
    closed_console: Console, script: Script, theme: str, request: pytest.FixtureRequest
) -> Console:
    """The console of an admin, in a theme and a width, with moving parts still."""
    in_use(script)
    page = closed_console.page
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": WIDTHS[request.param], "height": 800})
    # The library is put into the page as text, which the console's policy forbids to everybody else.
    page.context.new_cdp_session(page).send("Page.setBypassCSP", {"enabled": True})
    closed_console.open("sk-ops")
    return closed_console


def test_the_chat_has_no_fault(used_console: Console, script: Script) -> None:
    page = used_console.page
    assert faults(page) == []
    script.answers += [Answer([RICH]), Answer([RICH])]
    used_console.ask("Hi")
    used_console.wait_for_answer()
    expect(used_console.answer.locator(".hljs-comment")).to_be_visible()
    used_console.button("Retry").click()
    expect(used_console.answer.get_by_label("Answer 2 of 2")).to_be_visible()
    expect(used_console.answer.locator(".hljs-comment")).to_be_visible()
    used_console.button("Bad answer").click()
    expect(page.get_by_role("form", name="Comment on this answer")).to_be_visible()
    assert faults(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_fault(used_console: Console, name: str) -> None:
    page = used_console.page
    page.evaluate("name => { location.hash = `#/${name}` }", name)
    expect(page.locator("#page")).not_to_be_empty()
    expect(page.locator("#page [aria-busy]")).to_have_count(0)
    page.evaluate("for (const more of document.querySelectorAll('#page details')) more.open = true")
    assert faults(page) == []


def test_a_comparison_has_no_fault(used_console: Console) -> None:
    page = used_console.page
    page.evaluate("location.hash = '#/compare'")
    box = page.get_by_label("Message to both")
    box.fill("Hi")
    box.press("Enter")
    expect(page.get_by_text("Which is better?")).to_be_visible()
    assert faults(page) == []


def test_boxes_have_no_fault(used_console: Console) -> None:
    page = used_console.page
    narrow = (page.viewport_size or {"width": 0})["width"] < 900
    if narrow:
        page.get_by_role("button", name="Menu").click()
        assert faults(page) == []
    used_console.account.click()
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    assert faults(page) == []
    page.keyboard.press("Escape")
    if narrow:
        page.keyboard.press("Escape")
    used_console.button("Use this").click()
    for name in ("Python", "JavaScript", "Environment"):
        page.get_by_role("tab", name=name).click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.evaluate("location.hash = '#/keys'")
    used_console.button("New key").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    used_console.button("Rotate the key team-search").click()
    assert faults(page) == []


def test_axe_finds_what_is_wrong(used_console: Console) -> None:
    used_console.page.evaluate("document.querySelector('label[for=question]').remove()")
    used_console.page.evaluate("document.querySelector('#question').removeAttribute('placeholder')")
    assert any(fault.startswith("critical") for fault in faults(used_console.page))
