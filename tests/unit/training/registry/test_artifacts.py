import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest

from slipway.training.errors import RegistryError
from slipway.training.registry.artifacts import check_contents, check_names, names_of
from unit.sources import models
from unit.training.registry.made import artifact


def check(folder: Path) -> list[str]:
    names = names_of(folder)
    check_contents(folder, names)
    return names


def test_takes_what_training_leaves_but_its_card(tmp_path: Path) -> None:
    assert check(artifact(tmp_path)) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
        "training.json",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "training_args.bin",
        "adapter_model.pt",
        "optimizer.pkl",
        "modeling_mine.py",
        "run.sh",
        "lib.so",
        "model.gguf",
        "weights.npz",
        "onnx/config.json",
        "record.json",
        ".hidden",
        "-rf.json",
        "a b.json",
        "ünicode.json",
        "a\nb.json",
        "a/b/c/d/e.json",
        "x..y.json",
        "ADAPTER_CONFIG.json",
    ],
)
def test_refuses_files_that_no_model_needs(tmp_path: Path, name: str) -> None:
    models.write(artifact(tmp_path), {name: b"{}"})
    with pytest.raises(RegistryError) as caught:
        check(tmp_path)
    assert caught.value.reason == "BadArtifact"


@pytest.mark.parametrize(
    "name",
    ["../x.json", "/etc/x.json", "a/../../x.json", "a//x.json", "C:x.json", "a\\x.json", "a\0.json", ""],
)
def test_refuses_names_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(RegistryError, match="names of an artifact's files"):
        check_names(["config.json", "model.safetensors", name], "x")


def test_refuses_pickles_whatever_they_are_called(tmp_path: Path) -> None:
    models.write(artifact(tmp_path), {"tokenizer.model": pickle.dumps({"a": 1})})
    with pytest.raises(RegistryError, match="pickle"):
        check(tmp_path)
    with zipfile.ZipFile(tmp_path / "tokenizer.model", "w") as archive:
        archive.writestr("data.pkl", b"")
    with pytest.raises(RegistryError, match="zip archive"):
        check(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"#!/bin/sh\n")
    with pytest.raises(RegistryError, match="program"):
        check(tmp_path)


def test_refuses_a_pickle_called_safetensors(tmp_path: Path) -> None:
    models.write(artifact(tmp_path), {"adapter_model.safetensors": pickle.dumps(b"x" * 5000)})
    with pytest.raises(RegistryError, match="no whole safetensors"):
        check(tmp_path)


def test_refuses_weights_only_as_pickles(tmp_path: Path) -> None:
    models.write(tmp_path, {"adapter_config.json": b"{}", "adapter_model.bin": b"x"})
    with pytest.raises(RegistryError, match="pickle"):
        check(tmp_path)


def test_refuses_links_and_devices(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    folder = artifact(tmp_path / "a")
    (folder / "special_tokens_map.json").symlink_to(secret)
    with pytest.raises(RegistryError, match="is a link"):
        check(folder)
    (folder / "special_tokens_map.json").unlink()
    (folder / "more").symlink_to(tmp_path)
    with pytest.raises(RegistryError, match="is a link"):
        check(folder)
    (folder / "more").unlink()
    os.mkfifo(folder / "vocab.json")
    with pytest.raises(RegistryError, match="a device or a socket"):
        check(folder)


def test_refuses_code_that_a_configuration_asks_for(tmp_path: Path) -> None:
    config = {"model_type": "x", "auto_map": {"AutoModel": "evil--modeling.Model"}}
    models.write(artifact(tmp_path), {"config.json": json.dumps(config).encode()})
    with pytest.raises(RegistryError, match="auto_map"):
        check(tmp_path)


def test_refuses_json_that_is_none(tmp_path: Path) -> None:
    models.write(artifact(tmp_path), {"config.json": b"[" * 100_000})
    with pytest.raises(RegistryError, match="no JSON"):
        check(tmp_path)


def test_refuses_an_index_that_leads_elsewhere(tmp_path: Path) -> None:
    models.write(tmp_path, {"other.safetensors": models.safetensors(10)})
    folder = artifact(tmp_path / "a")
    index = json.dumps({"weight_map": {"w": "../other.safetensors"}}).encode()
    models.write(folder, {"model.safetensors.index.json": index})
    with pytest.raises(RegistryError, match="not there"):
        check(folder)
