from pathlib import Path

import pytest

from slipway.sources import NotAModelError, UnsafeWeightsError
from slipway.sources.weights import select, verify
from unit.sources import models

REPOSITORY = [
    ".gitattributes",
    "1_Pooling/config.json",
    "LICENSE",
    "README.md",
    "chat_template.jinja",
    "checkpoint-10/model.safetensors",
    "config.json",
    "consolidated.safetensors",
    "flax_model.msgpack",
    "generation_config.json",
    "merges.txt",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "modeling_custom.py",
    "onnx/config.json",
    "onnx/model.onnx",
    "original/consolidated.00.pth",
    "original/params.json",
    "pytorch_model.bin",
    "tf_model.h5",
    "tokenizer.bin",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer.model.v3",
    "tokenizer.py",
    "training_args.bin",
]


def test_takes_safetensors_once_and_what_belongs_to_them() -> None:
    assert select(REPOSITORY, "repository") == [
        "1_Pooling/config.json",
        "LICENSE",
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer.model.v3",
    ]


def test_takes_one_precision() -> None:
    names = ["config.json", "model.fp16.safetensors", "model.safetensors"]
    assert select(names, "x") == ["config.json", "model.safetensors"]
    assert select(names[:2], "x") == names[:2]


def test_takes_an_adapter() -> None:
    names = ["adapter_config.json", "adapter_model.safetensors"]
    assert select(names, "x") == names


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.pt", "model.pth", "model.pkl", "model.ckpt"])
def test_refuses_what_would_have_to_be_unpickled(weights: str) -> None:
    with pytest.raises(UnsafeWeightsError, match="pickle"):
        select(["config.json", weights], "x")


def test_refuses_what_is_no_model() -> None:
    with pytest.raises(NotAModelError, match=r"config\.json"):
        select(["model.safetensors"], "x")
    with pytest.raises(NotAModelError, match=r"a\.gguf, b\.gguf"):
        select(["config.json", "b.gguf", "a.gguf"], "x")


def test_verifies_whole_files(tmp_path: Path) -> None:
    models.write(tmp_path, models.files())
    verify(tmp_path)


@pytest.mark.parametrize("keep", [0, 7, 8, 40, -1])
def test_finds_a_cut_file(tmp_path: Path, keep: int) -> None:
    whole = models.safetensors(1000)
    models.write(tmp_path, {"model.safetensors": whole[:keep]})
    with pytest.raises(NotAModelError, match="no whole safetensors"):
        verify(tmp_path)


def test_finds_a_git_lfs_pointer(tmp_path: Path) -> None:
    models.write(
        tmp_path, {"model.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"}
    )
    with pytest.raises(NotAModelError, match="git lfs pull"):
        verify(tmp_path)


def test_finds_a_missing_shard(tmp_path: Path) -> None:
    index = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    models.write(
        tmp_path, {"model.safetensors.index.json": index, "model-1.safetensors": models.safetensors(10)}
    )
    with pytest.raises(NotAModelError, match=r"model-2\.safetensors"):
        verify(tmp_path)
