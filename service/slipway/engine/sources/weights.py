"""Which files of a model are taken: safetensors and what belongs to them, nothing to unpickle or run."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from slipway.engine.sources.errors import NotAModelError, UnsafeWeightsError

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
