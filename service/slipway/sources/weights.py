"""Which files of a model are taken: safetensors and what belongs to them, nothing to unpickle or run."""

import json
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from slipway.sources import safetensors_headers
from slipway.sources.errors import NotAModelError, UnsafeWeightsError
from slipway.sources.manifests import files_of

_TAKEN = (
    ".safetensors",
    ".json",
    ".jsonl",
    ".txt",
    ".model",
    ".jinja",
    ".tiktoken",
    ".spm",
    ".vocab",
    ".md",
    ".yaml",
)
_TAKEN_NAMES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*", "tokenizer*")
_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill")
_OTHER_FORMATS = {"original", "onnx", "openvino", "coreml", "tf", "tflite", "flax", "metal", "gguf", "runs"}
_VARIANT = re.compile(r"\.(?:fp16|fp32|bf16|non_ema|ema)(?=[.-])")


def select(names: Iterable[str], where: str) -> list[str]:
    """The files to take of a model's folder, sorted: safetensors once, configuration, tokenizer, licence.

    Args:
        names: paths relative to the model's folder.
        where: the source, for messages.

    Raises:
        UnsafeWeightsError: weights are there, but only in formats that have to be unpickled.
        NotAModelError: no config.json (or adapter_config.json), or no weights.
    """
    names = set(names)
    if not names & {"config.json", "adapter_config.json"}:
        raise NotAModelError(
            f"{where} holds no config.json, so it is no model. {_found(names)}Name the folder that holds one."
        )
    taken = {name for name in names if _is_taken(name)}
    weights = {name for name in taken if name.endswith(".safetensors")}
    if not weights:
        if any(name.endswith(_PICKLED) for name in names):
            raise UnsafeWeightsError(
                f"{where} holds its weights only as pickle files, which run code when they are loaded. "
                "Use a revision or a model with .safetensors, or convert them where you trust them."
            )
        raise NotAModelError(f"{where} holds no weights as .safetensors. {_found(names)}")
    return sorted(taken - _duplicates(weights))


def verify(folder: Path) -> None:
    """Look whether the safetensors of a model's folder are whole and all there, without reading the weights.

    Raises:
        NotAModelError: one is cut, lies about its tensors, is only a Git LFS pointer, or is missing though
            the index names it.
    """
    for index in folder.glob("*.safetensors.index.json"):
        try:
            shards = {str(name) for name in json.loads(index.read_text())["weight_map"].values()}
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise NotAModelError(f"{index} cannot be read ({error!r}): fetch the model again.") from error
        # Compared as names, so that `../other` is missing too.
        if missing := sorted(shards - set(files_of(folder))):
            names = ", ".join(missing[:4])
            raise NotAModelError(f"{index} names {names}, not there: fetch the model again.")
    for path in folder.rglob("*.safetensors"):
        try:
            safetensors_headers.read(path)
        except ValueError as error:
            raise NotAModelError(
                f"{path} is no whole safetensors file: {error}. Fetch or copy it again; "
                "if it came with Git, run git lfs pull."
            ) from error


def _is_taken(name: str) -> bool:
    *folders, base = name.split("/")
    if base.startswith(".") or base.endswith((*_PICKLED, ".py")):
        return False
    if any(folder.startswith((".", "checkpoint-")) or folder in _OTHER_FORMATS for folder in folders):
        return False
    return base.endswith(_TAKEN) or any(fnmatchcase(base, pattern) for pattern in _TAKEN_NAMES)


def _duplicates(weights: set[str]) -> set[str]:
    """The same weights a second time: Mistral's consolidated files, other precisions."""
    duplicates = {name for name in weights if _VARIANT.search(name) and _VARIANT.sub("", name) in weights}
    if any(name.startswith("model") for name in weights):
        duplicates |= {name for name in weights if name.startswith("consolidated")}
    return duplicates


def _found(names: set[str]) -> str:
    ggufs = sorted(name for name in names if name.endswith(".gguf"))
    if not ggufs:
        return ""
    return f"It holds GGUF files ({', '.join(ggufs[:8])}): put one of these names behind the address. "
