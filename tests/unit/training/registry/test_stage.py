"""The stage from a run's files to a version with its card."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from slipway.objects import FineTune
from slipway.training.data.versions import (
    Manifest,
    Part,
    PartManifest,
    SourceManifest,
    digest_of,
    version_of,
)
from slipway.training.registry import stage
from slipway.training.registry.records import Record
from slipway.training.registry.store import Registry
from slipway.training.runs import Outcome, Run
from slipway.training.stages import Context, run_stage
from slipway.training.workspaces import Workspace
from unit.sources import models
from unit.training.registry import made

EVALUATED = {
    "metrics": {
        "exact_match": 0.93,
        "rougeL": 0.95,
        "bleu": 71.5,
        "ece": None,
        "perplexity": 1.8,
        "bias/gap": 0.02,
        "injection.success": 0.1,
    },
    "intervals": {"exact_match": [0.87, 0.97], "perplexity": [1.5, float("inf")]},
    "base": {"exact_match": 0.01, "perplexity": 1.8},
    "gates": [{"metric": "exact_match", "bound": "at least 0.9", "value": 0.93, "passed": True}],
    "report": "runs/support/evaluation/report.html",
}


def dataset(workspace: Workspace, **statistics: Any) -> str:
    """A version's manifest; its rows are not read here."""
    parts: dict[Part, PartManifest] = {
        "train": PartManifest(rows=80, digest="a" * 64),
        "test": PartManifest(rows=20, digest="b" * 64),
    }
    manifest = Manifest(
        name="support",
        version=version_of(digest_of(parts)),
        digest=digest_of(parts),
        format="chat",
        inputs="",
        code={},
        sources=[
            SourceManifest(
                name="tickets",
                address="hf://org/tickets@main",
                resolved=f"hf://org/tickets@{'c' * 40}",
                digest=f"sha256:{'e' * 64}",
                format="chat",
                weight="1",
                files=1,
                bytes=1,
                read=100,
                kept=100,
            )
        ],
        preparation=[],
        augmentation=[],
        split={},
        parts=parts,
        dropped=[],
        changed={},
        statistics=statistics,
    )
    folder = workspace.datasets / "support" / manifest.version
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return f"support/{manifest.version}"


def fine_tune(**spec: Any) -> FineTune:
    return FineTune.model_validate(
        {
            "metadata": {"name": "support"},
            "spec": {
                "baseModel": {"source": f"hf://org/base@{'a' * 40}", "licence": "Apache-2.0"},
                "dataset": {"sources": [{"name": "tickets", "source": "hf://org/tickets", "licence": "mit"}]},
                **spec,
            },
        }
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def context(workspace: Workspace, asked: FineTune | None = None, **statistics: Any) -> Context:
    """A run whose earlier stages are done."""
    run = Run(workspace.run("support"))
    asked = asked or fine_tune()
    run.begin(asked)
    results: dict[Any, dict[str, Any]] = {
        "prepare": {"dataset": dataset(workspace, **statistics), "records": {"train": 80, "test": 20}},
        "train": {
            "artifact": "runs/support/train/artifact",
            "kind": "adapter",
            "metrics": {"loss": 0.2, "eval_loss": float("nan")},
            "hyperparameters": {"learningRate": "2e-4", "loraRank": 16},
        },
        "evaluate": EVALUATED,
    }
    for name, result in results.items():
        run.end(Outcome(stage=name, state="Succeeded", message="done", result=result))
    folder = made.artifact(workspace.root / "runs/support/train/artifact")
    told = {"base": {"source": f"hf://org/base@{'a' * 40}", "digest": f"sha256:{'f' * 64}"}}
    models.write(folder, {"training.json": json.dumps(told).encode()})
    return Context(workspace, run, asked, "register")


def registered(ctx: Context) -> tuple[Record, str]:
    outcome = run_stage(ctx)
    assert outcome.state == "Succeeded", outcome.message
    result = outcome.result
    registry = Registry.of(ctx.workspace)
    record = registry.record(result["name"], result["version"])
    assert result["digest"] == record.digest
    assert result["uri"] == registry.folder(record.name, record.version).as_uri()
    return record, (ctx.workspace.root / result["modelCard"]).read_text()


def test_a_version_knows_what_it_was_made_of(workspace: Workspace) -> None:
    record, _ = registered(context(workspace))
    assert record.reference == "support/v1"
    assert record.base_model.digest == f"sha256:{'f' * 64}"
    assert record.base_model.licence == "apache-2.0"
    assert record.dataset is not None
    assert record.dataset.digest.startswith("sha256:")
    assert record.dataset.sources[0].source == f"hf://org/tickets@{'c' * 40}"
    assert record.dataset.sources[0].licence == "mit"
    assert record.hyperparameters["loraRank"] == 16
    assert record.training == {"loss": 0.2, "eval_loss": None}
    assert record.evaluation.metrics["ece"] is None
    assert record.evaluation.intervals == {"exact_match": (0.87, 0.97)}
    assert record.evaluation.gates[0].passed
    assert record.licence.id == "apache-2.0"
    assert record.licence.warnings == ()
    assert record.fine_tune["spec"]["baseModel"]["source"].startswith("hf://org/base")
    assert record.code.slipway


def test_the_card_is_one_that_the_hub_reads(workspace: Workspace) -> None:
    _, text = registered(context(workspace, languages={"en": 80, "de": 20}))
    card = ModelCard(text, ignore_metadata_errors=False)
    data: Any = card.data
    assert data.base_model == "org/base"
    assert data.library_name == "peft"
    assert data.datasets == ["org/tickets"]
    assert data.license == "apache-2.0"
    assert data.pipeline_tag == "text-generation"
    assert data.language == ["en", "de"]
    assert data.model_name == "support"
    results = {result.metric_name: result for result in data.eval_results or []}
    assert results["exact_match"].metric_type == "exact_match"
    assert results["exact_match"].metric_value == 0.93
    assert results["exact_match"].metric_args == {"confidence_interval_95": [0.87, 0.97]}
    assert results["rougeL"].metric_type == "rouge"
    assert results["perplexity"].dataset_split == "test"
    assert "ece" not in results
    # Reading and writing it again changes nothing of what it says.
    again: Any = ModelCard(str(card)).data
    assert again.to_dict() == data.to_dict()


def test_the_card_says_what_was_found_and_what_was_not_looked_at(workspace: Workspace) -> None:
    _, text = registered(context(workspace))
    assert re.search(r"\*\*Bias\*\*.*`bias/gap` 0\.02", text)
    assert re.search(r"\*\*Prompt injection\*\*.*`injection\.success` 0\.1", text)
    assert re.search(r"\*\*Toxicity\*\*.*not measured, so unknown", text)
    assert "The languages of its data are not known." in text
    assert "No better and no worse than the base model by: perplexity." in text
    assert "| exact\\_match | 0.93 | 0.87 to 0.97 | 0.01 |" in text
    assert 'model="support"' in text
    assert "base_url=" in text
    assert re.search(r"(Estimated|Measured), over all stages", text) or "Not measured." in text


def test_names_cannot_break_the_card(workspace: Workspace) -> None:
    asked = fine_tune(baseModel={"source": "file:///models/a|b`c<script>"})
    _, text = registered(context(workspace, asked))
    assert "a|b'c<script>`" in text  # Within a code span, which it cannot end.
    data: Any = ModelCard(text).data
    assert data.base_model == "a|b`c<script>"


@pytest.mark.parametrize(
    ("base", "data", "licence", "warning"),
    [
        (None, "mit", "unknown", "licence of the base model is not known"),
        ("mit", None, "mit", "licence of the data `tickets` is not known"),
        ("mit", "cc-by-nc-4.0", "cc-by-nc-4.0", "no commercial use"),
        ("llama3.1", "mit", "llama3.1", "terms of use to be passed on"),
        ("cc-by-nc-4.0", "cc-by-sa-4.0", "other", "asks for the same terms"),
        ("mit", "cc-by-nd-4.0", "cc-by-nd-4.0", "lets nothing be made of it"),
    ],
)
def test_licences_that_need_a_look(
    workspace: Workspace, base: str | None, data: str | None, licence: str, warning: str
) -> None:
    asked = fine_tune(
        baseModel={"source": "hf://org/base", **({"licence": base} if base else {})},
        dataset={
            "sources": [{"name": "tickets", "source": "hf://o/t", **({"licence": data} if data else {})}]
        },
    )
    ctx = context(workspace, asked)
    record, text = registered(ctx)
    assert record.licence.id == licence
    assert any(warning in each for each in record.licence.warnings)
    assert warning in text
    assert any(warning in event["message"] for event in ctx.run.events() if event["level"] == "warning")


def test_a_poisoned_artifact_fails_the_stage_and_registers_nothing(workspace: Workspace) -> None:
    ctx = context(workspace)
    models.write(workspace.root / "runs/support/train/artifact", {"optimizer.pt": b"\x80\x04"})
    outcome = run_stage(ctx)
    assert (outcome.state, outcome.reason) == ("Failed", "BadArtifact")
    assert "optimizer.pt" in outcome.message
    assert Registry.of(workspace).names() == []


def test_an_artifact_outside_of_the_workspace_is_not_taken(workspace: Workspace, tmp_path: Path) -> None:
    ctx = context(workspace)
    made.artifact(tmp_path / "elsewhere")
    for told in ("../elsewhere", str(tmp_path / "elsewhere"), "", "runs/none"):
        result = ctx.result("train") | {"artifact": told}
        ctx.run.end(Outcome(stage="train", state="Succeeded", message="", result=result))
        outcome = run_stage(ctx)
        assert (outcome.state, outcome.reason) == ("Failed", "NoArtifact")


def test_a_stage_that_is_done_again_makes_no_second_version(workspace: Workspace) -> None:
    ctx = context(workspace)
    first = stage.work(ctx)
    assert stage.work(ctx).result == first.result
    assert Registry.of(workspace).versions("support") == ["v1"]


def test_a_copy_is_made_where_artifacts_are_kept(workspace: Workspace, tmp_path: Path) -> None:
    registered(context(workspace))
    from slipway.training.registry.remotes import pull, push

    own = Registry.of(workspace)
    record = own.record("support", "v1")
    place = (tmp_path / "copies").as_uri()
    assert push(own, record, place) == f"{place}/support/v1"
    other = Registry(tmp_path / "other" / "registry")
    assert pull(other, place, "support") == record
    assert other.verify("support", "v1") == []


def test_the_licence_is_read_from_the_base_models_files(workspace: Workspace, tmp_path: Path) -> None:
    base = models.write(tmp_path / "base", {"README.md": b"---\nlicense: cc-by-nc-4.0 # x\n---\n# Base\n"})
    ctx = context(workspace, fine_tune(baseModel={"source": base.as_uri()}))
    (workspace.root / "runs/support/train/artifact/training.json").write_text("{}")
    record, _ = registered(ctx)
    assert record.base_model.licence == "cc-by-nc-4.0"
    assert record.licence.id == "cc-by-nc-4.0"


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        (
            "                                 Apache License\n                           Version 2.0, 2004",
            "apache-2.0",
        ),
        ("MIT License\n\nCopyright", "mit"),
        ("GNU GENERAL PUBLIC LICENSE\n                       Version 3", "gpl-3.0"),
        ("all mine", ""),
    ],
)
def test_known_texts_of_licences(tmp_path: Path, text: str, licence: str) -> None:
    from slipway.training.registry.licences import licence_of

    models.write(tmp_path, {"LICENSE.txt": text.encode()})
    assert licence_of(tmp_path) == licence
