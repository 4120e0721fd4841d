"""The stage `evaluate`: an adapter over the held-out part; a failing gate ends it with the reason."""

import itertools
import json
from pathlib import Path

import pytest
import torch

from slipway.objects import FineTune
from slipway.training.errors import Stopped
from slipway.training.evaluation import peeks
from slipway.training.runs import Outcome, Run
from slipway.training.stages import Context, run_stage
from slipway.training.workspaces import Workspace
from training.evaluation.datasets import chat, dataset, labelled

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
ROWS = [chat(f"what is number {at}?", f"the number {at}", size="ab"[at % 2]) for at in range(12)]


def adapter(base: Path, folder: Path) -> None:
    """One that changes what the base says."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)


def context(
    root: Path,
    base: Path,
    evaluation: object,
    artifact: str = "",
    kind: str = "adapter",
    task: str = "generate",
) -> Context:
    """A run whose data is prepared and whose model is trained."""
    workspace = Workspace(root)
    run = Run(workspace.run("capitals"))
    document = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "FineTune",
        "metadata": {"name": "capitals"},
        "spec": {
            "baseModel": {"source": f"file://{base}"},
            "task": task,
            "dataset": {
                "format": "classification" if task == "classify" else "chat",
                "sources": [{"name": "rows", "source": "file:///rows.jsonl"}],
            },
            "evaluation": evaluation,
        },
    }
    fine_tune = FineTune.model_validate(document)
    run.begin(fine_tune)
    if not (workspace.datasets / "capitals").exists():
        rows = (
            [labelled(f"text {at}", "bug" if at % 3 else "praise") for at in range(12)]
            if task == "classify"
            else ROWS
        )
        version = dataset(
            workspace, "capitals", {"train": rows[:6], "validation": rows[6:8], "test": rows[8:]}
        )
        run.end(
            Outcome(stage="prepare", state="Succeeded", message="", result={"dataset": version.reference})
        )
        place = run.folder / "train" / "artifact"
        place.mkdir(parents=True)
        if artifact:
            place = Path(artifact)
        else:
            adapter(base, place)
        result = {"artifact": str(place.relative_to(root) if not artifact else place), "kind": kind}
        run.end(Outcome(stage="train", state="Succeeded", message="", result=result))
    return Context(workspace, run, fine_tune, "evaluate")


def test_the_result_is_compared_with_the_base_and_written_down(decoder: Path, tmp_path: Path) -> None:
    given = context(
        tmp_path,
        decoder,
        {"maxTokens": 6, "slices": ["size"], "gates": [{"metric": "perplexity", "max": "1e9"}]},
    )
    outcome = run_stage(given)
    assert outcome.state == "Succeeded", outcome.message
    result = outcome.result
    assert set(result["base"]) == set(result["metrics"]) >= {"exact_match", "perplexity", "bits_per_byte"}
    assert result["metrics"]["perplexity"] != result["base"]["perplexity"]
    assert result["gates"] == [
        {"metric": "perplexity", "bound": "<= 1e9", "value": result["metrics"]["perplexity"], "passed": True}
    ]
    assert result["testReads"] == 1
    document = json.loads((tmp_path / result["evaluation"]).read_text())
    assert document["examples"] == 4
    assert (tmp_path / result["report"]).exists()
    assert len((tmp_path / result["predictions"]).read_text().splitlines()) == 4
    assert any("is read; 1 evaluations" in each["message"] for each in given.run.events())
    assert given.run.progress() is not None


def test_a_gate_that_does_not_hold_fails_the_stage_and_says_why(decoder: Path, tmp_path: Path) -> None:
    given = context(
        tmp_path,
        decoder,
        {"maxTokens": 6, "metrics": ["exact_match"], "gates": [{"metric": "exact_match", "min": "0.9"}]},
    )
    outcome = run_stage(given)
    assert (outcome.state, outcome.reason) == ("Failed", "GateFailed")
    assert outcome.message == "exact_match is 0, below the minimum 0.9."
    # What was found is there to be looked at all the same.
    document = json.loads((given.run.folder / "evaluation" / "evaluation.json").read_text())
    assert document["gates"][0]["passed"] is False
    # The same gate, lowered: the answers are there, the test part counts as read once.
    again = context(
        tmp_path,
        decoder,
        {"maxTokens": 6, "metrics": ["exact_match"], "gates": [{"metric": "exact_match", "min": "0"}]},
    )
    assert run_stage(again).state == "Succeeded"
    folder = next((tmp_path / "datasets" / "capitals").iterdir())
    assert len(list(peeks.looks(folder))) == 1


def test_stopped_and_begun_again_it_goes_on_with_the_answers_that_it_has(
    decoder: Path, tmp_path: Path
) -> None:
    given = context(tmp_path, decoder, {"maxTokens": 6})
    checks = itertools.count()
    given.stopping = lambda: next(checks) > 5
    with pytest.raises(Stopped):
        run_stage(given)
    kept = list((given.run.folder / "evaluation" / "answers").glob("*.jsonl"))
    assert sum(len(path.read_text().splitlines()) for path in kept) > 0
    given.stopping = lambda: False
    assert run_stage(given).state == "Succeeded"


def test_the_promoted_version_is_what_it_is_compared_with(decoder: Path, tmp_path: Path) -> None:
    registered = tmp_path / "registry" / "capitals" / "v1"
    registered.mkdir(parents=True)
    adapter(decoder, registered)
    (registered.parent / "stages.json").write_text(json.dumps({"versions": {"v1": {"stage": "promoted"}}}))
    given = context(
        tmp_path, decoder, {"maxTokens": 6, "gates": [{"metric": "exact_match", "over": "deployed"}]}
    )
    outcome = run_stage(given)
    assert outcome.state == "Succeeded", outcome.message
    assert outcome.result["deployed"]["perplexity"] == pytest.approx(outcome.result["metrics"]["perplexity"])


def test_labels_are_compared_with_the_most_frequent_one(classifier: Path, tmp_path: Path) -> None:
    spec = {"metrics": ["accuracy"], "gates": [{"metric": "accuracy", "over": "base"}]}
    given = context(tmp_path, classifier, spec, str(classifier), "model", "classify")
    outcome = run_stage(given)
    assert (outcome.state, outcome.reason) == ("Failed", "GateFailed")
    assert "not significantly better" in outcome.message


def test_suites_about_the_training_get_its_rows(decoder: Path, tmp_path: Path) -> None:
    given = context(
        tmp_path, decoder, {"maxTokens": 6, "metrics": ["exact_match"], "suites": ["memorization", "privacy"]}
    )
    outcome = run_stage(given)
    assert outcome.state == "Succeeded", outcome.message
    assert {"memorization.membership_auc", "privacy.leak_rate"} <= set(outcome.result["metrics"])
