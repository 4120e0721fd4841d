"""Parameters by formula, beside those of Transformers' models."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from slipway.training.choosing.architectures import Architecture
from slipway.training.errors import TuningError

DOCUMENT = json.loads((files("slipway.training.choosing") / "catalogue.json").read_text())
MODELS = DOCUMENT["models"]


def parameters(config: Mapping[str, Any]) -> int:
    """Of the model that Transformers makes of a configuration, without memory for it."""
    kind = config["model_type"]
    made = CONFIG_MAPPING[kind](**{key: value for key, value in config.items() if key != "model_type"})
    encoders = ("bert", "roberta", "xlm-roberta", "distilbert", "modernbert")
    maker = AutoModel if kind in encoders else AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in maker.from_config(made).parameters())


def shortened(config: Mapping[str, Any]) -> dict[str, Any]:
    """With fewer layers, which differ in nothing: sums are linear in them."""
    names = {"num_hidden_layers", "n_layers", "num_layers", "num_decoder_layers"} & config.keys()
    # Transformers 5 makes every T5 with one embedding; those of the catalogue have a head of their own.
    tied = {"tie_word_embeddings": True} if config["model_type"] == "t5" else {}
    return {**config, **dict.fromkeys(names, 6), **tied}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model["name"]))
@pytest.mark.filterwarnings("ignore")
def test_the_catalogues_figures_make_the_models_that_they_are_named_after(model: dict[str, Any]) -> None:
    assert Architecture.of(model["config"]).parameters == model["parameters"]
    config = shortened(model["config"])
    assert Architecture.of(config).parameters == parameters(config)


def test_a_mixture_of_experts_computes_with_a_part_of_its_parameters() -> None:
    found = Architecture.of(next(each["config"] for each in MODELS if each["name"] == "Qwen/Qwen3-30B-A3B"))
    assert 3.2e9 < found.active < 3.4e9 < 30e9 < found.parameters


@pytest.mark.parametrize(
    ("change", "more"),
    [({"attention_bias": True}, 2 * (64 + 32 + 32 + 64)), ({"tie_word_embeddings": False}, 100 * 64)],
)
def test_biases_and_untied_heads_count(change: dict[str, Any], more: int) -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 96,
        "vocab_size": 100,
        "tie_word_embeddings": True,
    }
    changed = Architecture.of(config | change).parameters
    assert changed - Architecture.of(config).parameters == more
    assert changed == parameters(config | change)


def test_an_unknown_family_and_a_missing_figure_are_told() -> None:
    with pytest.raises(TuningError, match="family `mamba` cannot be worked out; known are llama"):
        Architecture.of({"model_type": "mamba"})
    with pytest.raises(TuningError, match="names no 'num_hidden_layers'"):
        Architecture.of({"model_type": "llama", "hidden_size": 64})
