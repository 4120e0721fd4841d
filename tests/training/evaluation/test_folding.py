"""Cross-validation: no row is judged by a model that has seen it."""

import json
from collections import Counter
from pathlib import Path

import pytest

from slipway.objects import FineTune
from slipway.training.errors import EvaluationError
from slipway.training.evaluation.__main__ import main
from slipway.training.evaluation.folding import FoldVersion, deal
from slipway.training.runs import Outcome, Run
from slipway.training.workspaces import Workspace
from training.evaluation.datasets import chat, dataset, labelled


def prompts(version: FoldVersion, part: str) -> set[str]:
    return {row["messages"][0]["content"] for row in version.rows(part)}  # type: ignore[arg-type, index]


def test_each_prompt_is_left_out_once_with_all_its_rows_and_none_that_was_made_up(tmp_path: Path) -> None:
    rows = [chat(f"question {at % 20}", f"answer {at}") for at in range(40)]
    made_up = {**chat("question 3", "other words"), "augmented": "paraphrase"}
    parts = {"train": [*rows[:30], made_up], "validation": rows[30:], "test": [chat("held out", "x")]}
    version = dataset(Workspace(tmp_path), "d", parts)  # type: ignore[arg-type]
    dealt = deal(version, 4, 0)
    assert Counter(dealt.values()) == {0: 5, 1: 5, 2: 5, 3: 5}
    assert deal(version, 4, 0) == dealt != deal(version, 4, 1)
    seen = Counter[str]()
    for fold in range(4):
        own = FoldVersion(version.folder, version.manifest, dealt, fold, 4)
        trained = prompts(own, "train") | prompts(own, "validation")
        left = {f"question {at}" for at in range(20)} - trained
        assert len(left) == 5
        seen.update(left)
        answers = [row["messages"][1]["content"] for row in own.rows("train")]  # type: ignore[index]
        assert "other words" not in answers
        assert "held out" not in trained
    assert set(seen.values()) == {1}


def test_labels_are_dealt_evenly(tmp_path: Path) -> None:
    rows = [labelled(f"text {at}", "rare" if at % 5 == 0 else "frequent") for at in range(30)]
    version = dataset(Workspace(tmp_path), "d", {"train": rows, "validation": [], "test": []})
    dealt = deal(version, 3, 0)
    for fold in range(3):
        own = FoldVersion(version.folder, version.manifest, dealt, fold, 3)
        kept = Counter(row["label"] for part in ("train", "validation") for row in own.rows(part))
        assert kept == {"rare": 4, "frequent": 16}


def test_fewer_prompts_than_folds_are_refused(tmp_path: Path) -> None:
    version = dataset(Workspace(tmp_path), "d", {"train": [chat("q", "a")], "validation": [], "test": []})
    with pytest.raises(EvaluationError, match="1 different prompts cannot be dealt into 3 folds"):
        deal(version, 3, 0)


@pytest.mark.filterwarnings("ignore")
def test_a_run_is_trained_for_each_fold_and_its_answers_are_evaluated_together(
    decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(tmp_path)
    run = Run(workspace.run("folded"))
    document = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "FineTune",
        "metadata": {"name": "folded"},
        "spec": {
            "baseModel": {"source": f"file://{decoder}"},
            "dataset": {"format": "chat", "sources": [{"name": "rows", "source": "file:///rows.jsonl"}]},
            "hyperparameters": {"maxSteps": 2, "maxLength": 64, "loraRank": 2, "precision": "float32"},
        },
    }
    run.begin(FineTune.model_validate(document))
    rows = [chat(f"question {at}", "a cat") for at in range(9)]
    version = dataset(
        workspace, "folded", {"train": rows[:6], "validation": rows[6:], "test": [chat("t", "t")]}
    )
    run.end(Outcome(stage="prepare", state="Succeeded", message="", result={"dataset": version.reference}))
    request = {
        "model": "folded",
        "folds": 3,
        "workspace": str(tmp_path),
        "spec": {"metrics": ["exact_match", "perplexity"], "max_tokens": 4},
        "output": str(tmp_path / "out"),
        "form": "json",
    }
    assert main([json.dumps(request)]) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    assert found["examples"] == 9
    assert [(each["field"], each["count"]) for each in found["slices"]] == [("fold", 3)] * 3
    assert "Mean and standard deviation over the folds: exact_match" in found["notes"][-1]
    perplexities = {each["scores"]["perplexity"]["value"] for each in found["slices"]}
    assert len(perplexities) == 3
    # Begun again nothing is trained: the artifacts and the answers are there.
    before = {path: path.stat().st_mtime_ns for path in (run.folder / "folds").rglob("*.safetensors")}
    assert len(before) >= 3
    assert main([json.dumps(request)]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not list(version.folder.glob("test-reads*"))
