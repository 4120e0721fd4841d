"""`slipway adapters merge`: from the registry into the registry, with its lineage."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from slipway.cli.adapters import command
from slipway.training.merging.adapters import Adapter
from slipway.training.registry.cards import card
from slipway.training.registry.drafting import code
from slipway.training.registry.licences import combined
from slipway.training.registry.records import BaseModelRecord, Draft
from slipway.training.registry.store import Registry
from slipway.training.workspaces import Workspace
from training.merging.samples import adapter

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    found = Registry.of(Workspace(tmp_path))
    for seed, name in enumerate(("support", "billing")):
        _put(found, name, adapter(tmp_path / "made" / name, seed))
    return found


def _put(registry: Registry, name: str, made: Adapter) -> None:
    base = BaseModelRecord(
        source="hf://org/base", name="org/base", digest=made.base_digest, licence="apache-2.0"
    )
    draft = Draft(name=name, kind="adapter", base_model=base, code=code(), licence=combined("apache-2.0", []))
    registry.register(draft, made.folder, card)


def _run(tmp_path: Path, capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, ["merge", *arguments, "--workspace", str(tmp_path)])
    said = capfd.readouterr()
    return done.exit_code, said.out + said.err


def test_a_merge_is_a_version_whose_parents_are_what_it_was_made_of(
    registry: Registry, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, said = _run(
        tmp_path, capfd, "support", "billing/v1", "--weights", "0.7,-0.3", "--method", "cat", "-o", "both"
    )
    assert code == 0, said
    assert "Merged 2 adapters into both/v1: rank 8" in said
    record = registry.record("both", "v1")
    assert record.parents == ("support/v1", "billing/v1")
    assert (record.method, record.hyperparameters["weights"]) == (
        "merge: cat",
        {"support/v1": 0.7, "billing/v1": -0.3},
    )
    assert record.licence.id == "apache-2.0"
    assert registry.verify("both", "v1") == []
    merged = json.loads((registry.folder("both", "v1") / "merge.json").read_text())
    assert [each["name"] for each in merged["adapters"]] == ["support/v1", "billing/v1"]


def test_folders_are_merged_into_a_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pair = [str(adapter(tmp_path / name, seed).folder) for seed, name in enumerate("ab")]
    code, said = _run(tmp_path, capfd, *pair, "-o", str(tmp_path / "merged"))
    assert code == 0, said
    assert (tmp_path / "merged" / "adapter_model.safetensors").exists()


def test_what_is_not_there_or_damaged_is_told_in_a_sentence(
    registry: Registry, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, said = _run(tmp_path, capfd, "support", "sales", "-o", "both")
    assert (code, "There is no version of 'sales'" in said) == (1, True)
    weights = registry.folder("support", "v1") / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    code, said = _run(tmp_path, capfd, "support", "billing", "-o", "both")
    assert (code, "support/v1 is damaged" in said) == (1, True)
    assert "Traceback" not in said
