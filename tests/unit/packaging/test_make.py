"""`make help` and the README name what is there."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PHONY = {
    name for line in re.findall(r"^\.PHONY: (.+)$", MAKEFILE, flags=re.MULTILINE) for name in line.split()
}


def test_help_lists_every_target_with_a_sentence() -> None:
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", shown.stdout, flags=re.MULTILINE))
    assert set(listed) == PHONY
    assert {name: text for name, text in listed.items() if len(text.split()) < 3} == {}


def test_every_phony_target_has_a_recipe_or_needs_something() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", MAKEFILE, flags=re.MULTILINE))
    assert targets == PHONY


def test_what_the_readme_asks_make_for_is_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z][a-z0-9-]*)\b(?=[ `\n]|$)", "\n".join(code(readme))))
    assert named - PHONY == set()


def code(markdown: str) -> list[str]:
    """What stands in code blocks and between backticks."""
    fenced = re.findall(r"^```.*?\n(.*?)^```", markdown, flags=re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    return [*fenced, *re.findall(r"`([^`\n]+)`", rest)]
