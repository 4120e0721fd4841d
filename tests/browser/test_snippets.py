"""Requests as programs: each runs as it was copied, and sends exactly what the console would."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.consolepage import Console
from browser.scripted import Script, ScriptedGateway

QUESTIONS = [
    'It\'s "me" & $HOME `id` \\n %s {x} </script>',
    "line one\nline two\ttab \\ end",
    "\N{GRINNING FACE} \u2028 \u00e9 '\"'''",
]
STUB = """
export default class OpenAI {
  constructor(options) { this.options = options; }
  chat = { completions: { create: async (body) => {
    console.log(JSON.stringify({ ...this.options, body }));
    return [];
  } } };
}
"""


def copied(console: Console, language: str) -> str:
    console.page.get_by_role("tab", name=language).click()
    console.button(f"Copy as {language}").click()
    console.wait_until("document.querySelector('#announcer').textContent === 'Copied'")
    text = console.clipboard()
    assert "sk-secret" not in text
    return text


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "SLIPWAY_API_KEY": "sk-secret"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def keyed(closed_console: Console, script: Script) -> Console:
    script.key = "sk-secret"
    closed_console.open("sk-secret")
    closed_console.page.get_by_label("Stop sequences").fill("END\n\\n")
    closed_console.page.get_by_label("Temperature", exact=True).fill("0.25")
    closed_console.page.get_by_label("System prompt").fill("Be 'brief'.")
    return closed_console


def expected(question: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "pilot-small",
        "messages": [
            {"role": "system", "content": "Be 'brief'."},
            {"role": "user", "content": question},
        ],
        "temperature": 0.25,
        "stop": ["END", "\n"],
        "stream": True,
        **more,
    }


@pytest.mark.parametrize("question", QUESTIONS, ids=["quotes", "lines", "unicode"])
def test_curl_sends_what_the_console_would(
    keyed: Console, script: Script, tmp_path: Path, question: str
) -> None:
    keyed.message.fill(question)
    keyed.button("Use this").click()
    assert "You said" in run(["bash", "-c", copied(keyed, "curl")], tmp_path)
    assert script.asked[0].body == expected(question)
    assert script.asked[0].headers["authorization"] == "Bearer sk-secret"


@pytest.mark.parametrize("question", QUESTIONS, ids=["quotes", "lines", "unicode"])
def test_python_sends_what_the_console_would(
    keyed: Console, script: Script, tmp_path: Path, question: str
) -> None:
    keyed.message.fill(question)
    keyed.button("Use this").click()
    (tmp_path / "snippet.py").write_text(copied(keyed, "Python"))
    run([sys.executable, "snippet.py"], tmp_path)
    assert script.asked[0].body == expected(question)
    assert script.asked[0].headers["authorization"] == "Bearer sk-secret"


@pytest.mark.parametrize("question", QUESTIONS, ids=["quotes", "lines", "unicode"])
def test_javascript_sends_what_the_console_would(
    keyed: Console, scripted: ScriptedGateway, tmp_path: Path, question: str
) -> None:
    keyed.message.fill(question)
    keyed.button("Use this").click()
    package = tmp_path / "node_modules" / "openai"
    package.mkdir(parents=True)
    (package / "index.mjs").write_text(STUB)
    (package / "package.json").write_text('{"name": "openai", "type": "module", "exports": "./index.mjs"}')
    (tmp_path / "snippet.mjs").write_text(copied(keyed, "JavaScript"))
    node = shutil.which("node")
    assert node is not None, "No node: make test-packages installs it."
    assert json.loads(run([node, "snippet.mjs"], tmp_path)) == {
        "baseURL": f"{scripted.url}v1",
        "apiKey": "sk-secret",
        "body": expected(question),
    }


def test_the_environment_is_for_tools(keyed: Console, scripted: ScriptedGateway, tmp_path: Path) -> None:
    keyed.button("Use this").click()
    text = copied(keyed, "Environment")
    shown = run(["bash", "-c", f"{text}\nenv"], tmp_path).splitlines()
    assert f"OPENAI_BASE_URL={scripted.url}v1" in shown
    assert "OPENAI_API_KEY=sk-secret" in shown
    assert f"ANTHROPIC_BASE_URL={scripted.url.rstrip('/')}" in shown
    assert "ANTHROPIC_MODEL=pilot-small" in shown


def test_an_answers_own_request_is_shown(keyed: Console, script: Script) -> None:
    keyed.ask("One")
    keyed.wait_for_answer()
    keyed.page.get_by_label("Temperature", exact=True).fill("1.5")
    keyed.model.select_option("pilot-large")
    keyed.button("Show as a program").click()
    curl = copied(keyed, "curl")
    assert '"temperature": 0.25' in curl
    assert '"model": "pilot-small"' in curl


def test_tabs_move_by_the_arrow_keys_and_the_last_one_is_remembered(keyed: Console) -> None:
    keyed.button("Use this").click()
    page = keyed.page
    page.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Python")).to_be_focused()
    expect(page.get_by_role("tab", name="Python")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tabpanel")).to_contain_text("from openai import OpenAI")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="Environment")).to_be_focused()
    page.keyboard.press("Escape")
    keyed.button("Use this").click()
    expect(page.get_by_role("tab", name="Environment")).to_have_attribute("aria-selected", "true")
