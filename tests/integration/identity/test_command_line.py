"""`slipway key … --url`: keys through a gateway's API."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from integration.identity.test_administration import ADMIN, MEMBER
from integration.usage.conftest import StartPlace
from slipway.cli import main


@pytest.fixture
def url(place: StartPlace) -> str:
    there = place(key={"owner": "search", "models": ["m*"]})
    return f"http://127.0.0.1:{there.start(usage=False).port()}"


def slipway(*arguments: str, key: str, folder: Path) -> Result:
    environment = {"SLIPWAY_STATE": str(folder), "SLIPWAY_API_KEY": key}
    return CliRunner().invoke(main, arguments, env=environment, prog_name="slipway")


def test_a_key_is_made_listed_rotated_and_revoked(url: str, tmp_path: Path) -> None:
    def run(*arguments: str, key: str = MEMBER) -> Result:
        done = slipway("key", *arguments, "--url", url, key=key, folder=tmp_path / "none")
        assert done.exit_code == 0, done.output
        return done

    made = run("create", "ci", "--budget-day", "2.50", "--max-parallel", "4", "--expires-in", "30d")
    plain = made.stdout.strip()
    assert plain.startswith("sk-slipway-")
    assert "not shown again" in made.stderr
    (shown,) = [each for each in json.loads(run("list", "-o", "json").stdout) if each["name"] == "ci"]
    assert (shown["owner"], shown["models"], shown["maker"]) == ("search", ["m*"], "local")
    assert shown["limits"] == {"maxParallel": 4, "budgetUSD": {"day": "2.50"}}
    child = run("create", "child", key=plain).stdout.strip()
    assert "child" in run("list", key=child).stdout
    rotated = run("rotate", "ci", "--overlap", "0", key=ADMIN).stdout.strip()
    assert rotated != plain
    assert slipway("models", "--url", url, key=plain, folder=tmp_path).exit_code == 1
    assert slipway("models", "--url", url, key=rotated, folder=tmp_path).exit_code == 0
    revoked = run("revoke", "ci")
    assert revoked.stdout == "Revoked ci.\n"
    assert "child" in revoked.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "x", "--role", "admin"], "Only an admin can hand on the role of an admin. (403)"),
        (["create", "x", "--expires-in", "soon"], "'soon' is not a length of time"),
        (["rotate", "nowhere"], "There is no key `nowhere`"),
        (["rotate", "local", "--overlap", "x"], "'x' is not a length of time"),
        (["revoke", "local"], "comes from an object"),
    ],
)
def test_what_is_refused_is_a_sentence(url: str, tmp_path: Path, arguments: list[str], said: str) -> None:
    done = slipway("key", *arguments, "--url", url, key=MEMBER, folder=tmp_path)
    assert done.exit_code == 1
    assert said in done.output
