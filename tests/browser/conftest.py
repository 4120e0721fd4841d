"""A page of the console in headless Chromium, and a watch over what the browser complains about.

The tests of `test_chat.py` hold for any gateway: with `SLIPWAY_CONSOLE_URL` (and `SLIPWAY_API_KEY`,
`SLIPWAY_CONSOLE_MODEL`) set they run against that one.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from browser.consolepage import Complaints, Console
from browser.scripted import Answer, Script, ScriptedGateway, scripted_gateway

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 5_000
REAL = os.environ.get("SLIPWAY_CONSOLE_URL")
SHORT_ANSWERS = """
const settings = { parameters: { max_tokens: '150' } };
if (location.protocol === 'http:') localStorage.setItem('slipway.settings', JSON.stringify(settings));
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a file of tests. It ends with the file: its event loop must not meet async tests."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.fail("No Chromium: install it (make test-packages) or name it in $CHROMIUM.")
    expect.set_options(timeout=20_000 if REAL else PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def scripted() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as gateway:
        yield gateway


@pytest.fixture
def script(scripted: ScriptedGateway) -> Script:
    """A fresh script for the gateway."""
    scripted.script = Script()
    return scripted.script


@pytest.fixture
def console_url(request: pytest.FixtureRequest) -> str:
    """Where the console is."""
    if REAL:
        return REAL.rstrip("/") + "/"
    request.getfixturevalue("script")
    gateway: ScriptedGateway = request.getfixturevalue("scripted")
    return gateway.url


@pytest.fixture
def console_key() -> str:
    """A key that the gateway takes, or ''."""
    return os.environ.get("SLIPWAY_API_KEY", "") if REAL else ""


@pytest.fixture
def console_model() -> str:
    """A model that can chat."""
    return os.environ.get("SLIPWAY_CONSOLE_MODEL", "") if REAL else "pilot-small"


@pytest.fixture
def long_question(request: pytest.FixtureRequest) -> str:
    """A question whose answer takes long enough to be stopped."""
    if not REAL:
        script: Script = request.getfixturevalue("script")
        script.answers.append(Answer(["one ", "two ", "three "], hold_at=2))
    return "Tell me a long story about a ship and its crew."


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """What the browser complained about. A test that means to cause an error says so with `expect`."""
    complaints = Complaints()
    if REAL:
        complaints.expect("404 (Not Found)")  # A record that is asked for before it is written.
    yield complaints
    assert complaints.unexpected == []


@pytest.fixture
def context(
    request: pytest.FixtureRequest, browser: Browser, complaints: Complaints
) -> Iterator[BrowserContext]:
    """A browser profile that nothing was stored in, with a clipboard."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(PATIENCE_MS)
    complaints.listen(context)
    if REAL and "long_question" not in request.fixturenames:
        context.add_init_script(SHORT_ANSWERS)  # A small model left to itself can go on for a minute.
    yield context
    context.close()


@pytest.fixture
def console(context: BrowserContext, console_url: str, console_key: str) -> Console:
    """The console, open, with a model chosen."""
    console = Console(context.new_page(), console_url)
    console.open(console_key)
    return console


@pytest.fixture
def closed_console(context: BrowserContext, console_url: str) -> Console:
    """The console before it is opened, for tests that set the stage first."""
    return Console(context.new_page(), console_url)
