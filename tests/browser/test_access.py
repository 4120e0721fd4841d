"""Keyboard, screen readers, colours, small screens, and the libraries that the console carries."""

import hashlib
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.consolepage import Complaints, Console
from browser.scripted import CONSOLE, Answer, Script

SHOWN = "getComputedStyle(document.body).backgroundColor"


def test_enter_sends_and_shift_enter_starts_a_new_line(console: Console, script: Script) -> None:
    expect(console.message).to_be_focused()
    keyboard = console.page.keyboard
    keyboard.type("one")
    keyboard.press("Shift+Enter")
    keyboard.type("two")
    expect(console.message).to_have_value("one\ntwo")
    keyboard.press("Enter")
    expect(console.message).to_have_value("")
    console.wait_for_answer()
    assert script.asked[0].body["messages"][0]["content"] == "one\ntwo"


def test_enter_while_an_answer_comes_keeps_the_draft(console: Console, script: Script) -> None:
    script.answers.append(Answer(["one ", "two"], hold_at=1))
    console.ask("Hi")
    expect(console.answer).to_contain_text("one")
    console.ask("a draft")
    expect(console.message).to_have_value("a draft")
    script.release()
    console.wait_for_answer()
    assert len(script.asked) == 1


def test_the_tab_key_visits_everything_in_the_order_of_reading(console: Console, script: Script) -> None:
    console.ask("Hi")
    console.wait_for_answer()
    console.model.focus()
    visited = []
    for _ in range(30):
        visited.append(
            console.page.evaluate(
                "(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()"
                " || document.activeElement.ariaLabel"
            )
        )
        outline = console.page.evaluate(
            "[document.activeElement, document.activeElement.parentElement].some((element) => {"
            "  const style = getComputedStyle(element);"
            "  return style.outlineStyle !== 'none' || style.boxShadow !== 'none'; })"
        )
        assert outline, f"no focus to be seen on {visited[-1]}"
        if visited[-1] == "Back to the model's defaults":
            break
        console.page.keyboard.press("Tab")
    order = [
        "Model",
        "Use this",
        "Settings",
        "Copy message",
        "Copy answer",
        "Retry",
        "Message",
    ]
    places = [visited.index(name) for name in order]
    assert places == sorted(places)
    assert visited.index("Message") < visited.index("Temperature") < len(visited) - 1


def test_a_screen_reader_hears_the_answer_once_it_is_complete(console: Console, script: Script) -> None:
    script.answers.append(Answer(["one ", "two"], hold_at=1))
    announcer = console.page.locator("#announcer")
    console.ask("Hi")
    expect(announcer).to_have_text("Waiting for the answer")
    script.release()
    expect(announcer).to_have_text("The answer: one two")


def test_every_control_has_a_name(console: Console) -> None:
    console.ask("Hi")
    console.wait_for_answer()
    nameless = console.page.evaluate(
        """[...document.querySelectorAll('button, input, select, textarea, a')].filter((element) =>
             !element.textContent.trim() && !element.ariaLabel && !element.labels?.length).length"""
    )
    assert nameless == 0


def test_settings_close_with_escape_where_they_cover_the_chat(console: Console) -> None:
    console.page.set_viewport_size({"width": 390, "height": 844})
    settings = console.page.get_by_role("dialog", name="Settings")
    expect(settings).to_be_hidden()
    console.button("Settings").click()
    expect(settings).to_be_visible()
    console.page.keyboard.press("Escape")
    expect(settings).to_be_hidden()
    expect(console.button("Settings")).to_be_focused()


@pytest.mark.parametrize("system", ["light", "dark"])
def test_colours_follow_the_system_until_told_otherwise(console: Console, system: str) -> None:
    page = console.page
    page.emulate_media(color_scheme="dark" if system == "dark" else "light")
    dark, light = "rgb(16, 22, 28)", "rgb(255, 255, 255)"
    first, second = (dark, light) if system == "dark" else (light, dark)
    assert page.evaluate(SHOWN) == first
    console.button("Light or dark").click()
    assert page.evaluate(SHOWN) == second
    page.reload()
    assert page.evaluate(SHOWN) == second
    console.button("Light or dark").click()
    assert page.evaluate(SHOWN) == first
    assert page.evaluate("localStorage.getItem('slipway.theme')") is None


def test_nothing_moves_where_less_motion_is_asked_for(console: Console, script: Script) -> None:
    console.page.emulate_media(reduced_motion="reduce")
    script.answers.append(Answer(["one"], hold_at=0))
    console.ask("Hi")
    expect(console.answer.locator(".pulse")).to_be_visible()
    assert console.page.evaluate("document.getAnimations().length") == 0
    script.release()
    console.wait_for_answer()


WIDE = (
    "A" * 300
    + "\n\n```py\n"
    + "x = 1; " * 60
    + "\n```\n\n|"
    + " a long heading |" * 12
    + "\n|"
    + "---|" * 12
    + "\n\n[https://example.com/"
    + "a" * 200
    + "](https://example.com/)"
)


TOO_WIDE = """[...document.querySelectorAll('body *')].filter((element) => {
  const { right, left, width } = element.getBoundingClientRect();
  return width && (right > innerWidth + 1 || left < -1) &&
    element.checkVisibility({ visibilityProperty: true }) &&
    !element.closest('pre, .table-frame, .visually-hidden, .wide');
}).map((element) => element.outerHTML.slice(0, 120))"""


def test_nothing_is_wider_than_the_screen(console: Console, script: Script, complaints: Complaints) -> None:
    complaints.expect("Failed to load resource")
    page = console.page
    script.models[0]["id"] = "a-model-with-quite-a-long-name/instruct-v0.2-awq"
    error = {"message": "B" * 300, "type": "server_error", "code": None, "param": None}
    script.answers += [Answer([WIDE], finish="length"), Answer(status=500, error=error)]
    page.reload()
    expect(console.model).to_be_enabled()
    for question in ("C" * 300, "D"):
        console.ask(question)
        console.wait_for_answer()
    expect(console.error).to_be_visible()
    for width in (1280, 768, 390, 320):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate(TOO_WIDE) == [], width
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        for opener in ("Use this", "Settings"):
            if opener == "Settings" and width >= 1000:
                continue
            console.button(opener).click()
            assert page.evaluate(TOO_WIDE) == [], (width, opener)
            page.keyboard.press("Escape")


@pytest.mark.parametrize(
    "row",
    re.findall(
        r"^\| (\S+) \| .* \| ([0-9a-f]{64}) \|$", (CONSOLE / "vendor/README.md").read_text(), re.MULTILINE
    ),
    ids=lambda row: row[0],
)
def test_vendored_files_are_as_published(row: tuple[str, str]) -> None:
    name, recorded = row
    assert hashlib.sha256((CONSOLE / "vendor" / name).read_bytes()).hexdigest() == recorded


def test_every_vendored_file_is_recorded() -> None:
    listed = set(
        re.findall(
            r"^\| (\S+) \| .* \| [0-9a-f]{64} \|$", (CONSOLE / "vendor/README.md").read_text(), re.MULTILINE
        )
    )
    assert {file.name for file in (CONSOLE / "vendor").iterdir()} == listed | {"README.md"}


def test_every_icon_that_is_used_exists() -> None:
    page = (CONSOLE / "index.html").read_text()
    scripts = "".join(file.read_text() for file in (CONSOLE / "js").rglob("*.js"))
    used = set(re.findall(r"#icon-([a-z]+)", page))
    used |= set(re.findall(r"icon(?:Button)?\('([a-z]+)'", scripts)) | set(
        re.findall(r"icon: '([a-z]+)'", scripts)
    )
    assert used == set(re.findall(r'<symbol id="icon-([a-z]+)"', page))


def imported(file: Path, found: set[Path]) -> set[Path]:
    """A module and all that it imports, not counting what is loaded later."""
    if file not in found:
        found.add(file)
        for target in re.findall(r"^import\s[^;]*?from '([^']+)';", file.read_text(), re.MULTILINE):
            imported((file.parent / target).resolve(), found)
    return found


def test_all_that_the_first_page_imports_is_loaded_at_once() -> None:
    page = (CONSOLE / "index.html").read_text()
    preloaded = set(re.findall(r'rel="modulepreload" href="([^"]+)"', page)) | {"js/app.js"}
    modules = imported(CONSOLE / "js" / "app.js", set())
    assert preloaded == {str(file.relative_to(CONSOLE)) for file in modules}


def test_every_module_is_used() -> None:
    entries = [CONSOLE / "js" / "app.js", CONSOLE / "js" / "theme.js"]
    found: set[Path] = set()
    while entries:
        for file in imported(entries.pop(), found).copy():
            targets = re.findall(r"import\('([^']+)'\)", file.read_text())
            later = {(file.parent / target).resolve() for target in targets}
            entries.extend(later - found)
    files = {*(CONSOLE / "js").rglob("*.js"), *(CONSOLE / "vendor").glob("*.js")}
    assert found == files
