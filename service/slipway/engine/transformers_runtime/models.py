"""Loads a model's folder: safetensors only, and none of the code that may lie beside them."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers

from slipway.engine.failures import StartError
from slipway.engine.options import Device, EngineOptions
from slipway.engine.transformers_runtime.kinds import (
    Activation,
    Kind,
    activation_of,
    kind_of,
    longest_input,
)

_SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True)
class TextToText:
    """A model that reads one text and writes another."""

    module: Any
    tokenizer: Any
    """Used in the event loop's process of reading requests."""
    decoding: Any
    """A copy of the tokenizer for the worker: one must not be used by two threads at once."""
    config: Any
    generation: Any
    """The model's own generation_config."""
    ends: frozenset[int]
    """Tokens that end an answer."""
    start: int
    """The token before every answer."""
    padding: int
    longest: int
    """Most tokens of a prompt, and most of an answer."""
    vocabulary: int
    kind: Kind = "text-to-text"


@dataclass(frozen=True)
class Encoder:
    """A model that gives labels, scores or vectors."""

    module: Any
    tokenizer: Any
    padding: Any
    """The `pad` of a copy of the tokenizer, for the worker."""
    kind: Kind
    labels: tuple[str, ...]
    activation: Activation
    longest: int
    """Most tokens of an input."""
    vocabulary: int
    pooling: Literal["mean", "cls"] = "mean"


Model = TextToText | Encoder


def load(folder: Path, options: EngineOptions, device: Device) -> Model:
    """The model in `folder`, on `device`, ready to be asked.

    Raises:
        StartError: it cannot do the task asked for, it is not whole, or Transformers does not know it.
    """
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **_SAFE)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **_SAFE)
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise _not_loaded(folder, error) from error
    labels = int(config.num_labels)
    kind = kind_of(
        options.task,
        config.architectures or (),
        encoder_decoder=bool(config.is_encoder_decoder),
        labels=labels,
    )
    longest = longest_input(config.to_dict(), tokenizer.model_max_length, options.max_model_len)
    module = _module(folder, kind, _dtype(config, options.dtype, device), device)
    vocabulary = module.get_input_embeddings().num_embeddings
    if kind == "text-to-text":
        generation = module.generation_config
        return TextToText(
            module=module,
            tokenizer=tokenizer,
            decoding=copy.deepcopy(tokenizer),
            config=config,
            generation=generation,
            ends=frozenset(_ids(generation.eos_token_id)),
            start=_start(config, generation),
            padding=_padding(config, tokenizer),
            longest=longest,
            vocabulary=vocabulary,
        )
    if kind == "tokens" and not tokenizer.is_fast:
        raise StartError(
            "ModelNotSupported",
            "The model's tokenizer does not tell where tokens lie in a text: it needs a tokenizer.json.",
        )
    return Encoder(
        module=module,
        tokenizer=tokenizer,
        padding=_pad_of(copy.deepcopy(tokenizer), _padding(config, tokenizer)),
        kind=kind,
        labels=tuple(config.id2label[label] for label in range(labels)),
        activation=activation_of(config.to_dict(), labels),
        longest=longest,
        vocabulary=vocabulary,
        pooling=_pooling(folder),
    )


def _dtype(config: Any, asked: str, device: Device) -> torch.dtype:
    """The number format: the weights' own if none is asked for."""
    if asked != "auto":
        found = getattr(torch, asked, None)
        if not isinstance(found, torch.dtype):
            raise StartError("WrongArguments", f"{asked!r} is no number format: use auto, float32, bfloat16.")
        return found
    own = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    # Half precision is slow on a CPU, and T5 overflows in it.
    return torch.float32 if device == "cpu" and own is torch.float16 else own


def _module(folder: Path, kind: Kind, dtype: torch.dtype, device: Device) -> Any:
    classes = {
        "text-to-text": transformers.AutoModelForSeq2SeqLM,
        "texts": transformers.AutoModelForSequenceClassification,
        "pairs": transformers.AutoModelForSequenceClassification,
        "tokens": transformers.AutoModelForTokenClassification,
        "vectors": transformers.AutoModel,
    }
    try:
        module, told = classes[kind].from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **_SAFE
        )
    except (OSError, ValueError, KeyError, AttributeError, ImportError, RuntimeError) as error:
        raise _not_loaded(folder, error) from error
    # Vectors are made of the last layer's states; a pooler after it, if the class has one, is not used.
    missing = [name for name in told["missing_keys"] if kind != "vectors" or "pooler." not in name]
    if missing:
        shown = ", ".join(sorted(missing)[:4])
        raise StartError(
            "ModelNotSupported",
            f"The weights lack {shown}: what they were not trained for would be made up at random. Take the "
            "model that was tuned for the task, or set another model.task.",
        )
    return module.eval().to("cuda" if device == "gpu" else "cpu")


def _not_loaded(folder: Path, error: Exception) -> StartError:
    said = " ".join(str(error).replace(str(folder), "the folder").split())[:400]
    return StartError(
        "ModelNotSupported",
        "Transformers cannot load this model: check config.json, the tokenizer's files and the weights. "
        f"Transformers said: {said}",
    )


def _start(config: Any, generation: Any) -> int:
    for named in (generation.decoder_start_token_id, config.decoder_start_token_id, generation.bos_token_id):
        if isinstance(named, int):
            return named
    raise StartError("ModelNotSupported", "The configuration lacks decoder_start_token_id: add it.")


def _padding(config: Any, tokenizer: Any) -> int:
    """Any token fills, as it is masked; but some models look for their own."""
    named = config.pad_token_id if config.pad_token_id is not None else tokenizer.pad_token_id
    return 0 if named is None else int(named)


def _pad_of(tokenizer: Any, padding: int) -> Any:
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(padding)
    tokenizer.deprecation_warnings["Asking-to-pad-a-fast-tokenizer"] = True
    return tokenizer.pad


def _ids(value: int | list[int] | None) -> list[int]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _pooling(folder: Path) -> Literal["mean", "cls"]:
    """How a sentence-transformers model makes one vector of its tokens'; the mean where it does not say."""
    try:
        config = json.loads((folder / "1_Pooling" / "config.json").read_text())
    except (OSError, ValueError):
        return "mean"
    return "cls" if config.get("pooling_mode_cls_token") else "mean"
