"""The console as a person meets it: names for what is on the page."""

import re
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, expect

REPORT_VIOLATIONS = """
addEventListener('securitypolicyviolation', (event) =>
  console.error(`violates ${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""


@dataclass
class Complaints:
    """Errors and warnings of the browser, uncaught exceptions, breaches of the content security policy."""

    unexpected: list[str] = field(default_factory=list)
    _expected: list[str] = field(default_factory=list)

    def expect(self, *parts: str) -> None:
        """Complaints that contain one of these are what the test is about."""
        self._expected += parts

    def listen(self, context: BrowserContext) -> None:
        context.add_init_script(REPORT_VIOLATIONS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self._take(str(error.error)))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._take(message.text)

    def _take(self, text: str) -> None:
        if not any(part in text for part in self._expected):
            self.unexpected.append(text)


class Console:
    """A page that shows the console."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def open(self, key: str = "") -> None:
        """Opens it and waits for the models."""
        self.page.goto(f"{self.url}#key={key}" if key else self.url)
        expect(self.model).to_be_enabled()

    def go(self, name: str) -> None:
        """Goes to another page by its link."""
        self.page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text(name)

    @property
    def model(self) -> Locator:
        return self.page.get_by_label("Model", exact=True)

    @property
    def message(self) -> Locator:
        return self.page.get_by_label("Message", exact=True)

    @property
    def answer(self) -> Locator:
        """The last answer."""
        return self.page.locator(".assistant").last

    @property
    def error(self) -> Locator:
        return self.answer.locator(".error")

    @property
    def key_box(self) -> Locator:
        return self.page.get_by_role("dialog", name="Sign in")

    @property
    def account(self) -> Locator:
        """The button that says who is signed in."""
        return self.page.get_by_role("button", name="Account:")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def ask(self, question: str) -> None:
        self.message.fill(question)
        self.message.press("Enter")

    def wait_for_answer(self) -> None:
        """Waits until the last answer is complete, or failed."""
        expect(self.answer.get_by_role("button", name="Retry")).to_be_attached()

    def stored(self, storage: str, name: str) -> Any:
        """What the console keeps under this name in `localStorage` or `sessionStorage`."""
        return self.page.evaluate(f"JSON.parse({storage}.getItem('slipway.{name}'))")

    def clipboard(self) -> str:
        return str(self.page.evaluate("navigator.clipboard.readText()"))

    def wait_until(self, expression: str) -> None:
        """Waits until a JavaScript expression is true."""
        self.page.wait_for_function(expression)


MEASURES = re.compile(r"(ms|s) to first token.*tokens?", re.DOTALL)
