"""`slipway data drift`, `report` and `tokens` over a prepared version."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from slipway.cli import client, data
from slipway.training.data.versions import DatasetVersion
from training.exploration.conftest import prepared
from training.feedback.test_feedback import conversation, said


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    rows = [{"messages": conversation(f"where is my order number {number} please")} for number in range(400)]
    steps: list[dict[str, Any]] = [{"name": "language"}]
    return prepared(tmp_path_factory.mktemp("data"), rows, format="chat", preparation=steps)


def run(version: DatasetVersion, *arguments: str) -> Result:
    workspace = str(version.folder.parents[2])
    return CliRunner().invoke(data.command, [*arguments, "--workspace", workspace])


def answer(monkeypatch: pytest.MonkeyPatch, found: list[dict[str, Any]]) -> None:
    """What the gateway has, in pages of two hundred; a real one is asked in the integration tests."""

    def get(self: client.Gateway, path: str, query: list[tuple[str, str]]) -> Any:
        after = dict(query).get("after")
        first = next((at + 1 for at, each in enumerate(found) if each["id"] == after), 0)
        page = found[first : first + 200]
        return {
            "data": page,
            "has_more": first + 200 < len(found),
            "last_id": page[-1]["id"] if page else None,
        }

    monkeypatch.setattr(client.Gateway, "get", get)


def entries(version: DatasetVersion, question: str, *, down_every: int) -> list[dict[str, Any]]:
    """Feedback newest first: two hundred entries since the data was prepared, as many before."""
    start = int(version.manifest.created_at.timestamp())
    after = [
        said(
            1000 + at,
            "down" if at % down_every == 0 else "up",
            at=start + 10,
            messages=conversation(question.format(at)),
        )
        for at in range(200)
    ]
    before = [said(at, "down" if at % 10 == 0 else "up", at=start - 10, messages=None) for at in range(200)]
    return after + before


def test_nothing_has_changed(version: DatasetVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, entries(version, "where is my order number {} please", down_every=10))
    ran = run(version, "drift", "made", "--url", "http://gateway")
    assert "Nothing has changed beyond chance." in ran.output
    assert "200 conversations since" in ran.output
    assert ran.exit_code == 0


def test_drift_and_falling_ratings_end_with_their_own_code(
    version: DatasetVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, entries(version, "def method_{}(self): return [each for each in self]", down_every=2))
    ran = run(version, "drift", "made", "--url", "http://gateway", "-o", "json")
    assert ran.exit_code == 3
    told = json.loads(ran.output)
    assert told["ratings"]["falling"] is True
    assert {each["of"]: each["drifted"] for each in told["shifts"]}["words"] is True
    assert any("Ratings have fallen" in sentence for sentence in told["alarms"])


def test_the_report_is_written_beside_the_version(version: DatasetVersion) -> None:
    ran = run(version, "report", "made")
    assert ran.exit_code == 0, ran.output
    assert ran.output.splitlines()[-1] == str(version.report)
    assert "<h2>Lengths</h2>" in version.report.read_text()


def test_tokens_are_compared(version: DatasetVersion, tmp_path: Path) -> None:
    ran = run(version, "tokens", "made", "--vocabulary", "200", "-o", "json")
    told = json.loads(ran.output)
    assert told["measuredOn"] == "validation"
    by_name = {each["name"]: each for each in told["tokenizers"]}
    assert list(by_name) == ["words", "characters", "BPE", "Unigram", "WordPiece"]
    assert (
        by_name["words"]["fertility"] == 1 < by_name["BPE"]["fertility"] < by_name["characters"]["fertility"]
    )
    ran = run(version, "tokens", "made", "--model", tmp_path.as_uri())
    assert ran.exit_code == 1
    assert "holds no config.json, so it is no model" in ran.output
