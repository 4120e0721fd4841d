"""Memory by formula, beside what a process really takes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway.training.choosing.architectures import Architecture
from slipway.training.choosing.candidates import catalogue
from slipway.training.choosing.memory import (
    GIB,
    Method,
    cache_per_token,
    most_tokens,
    serving,
    trained_parameters,
    training,
)

SCRIPT = Path(__file__).with_name("measured.py")
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 1408,
    "vocab_size": 8192,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
MODEL = Architecture.of(CONFIG)
BOUND = 0.25
"""How far the formula may be from what is measured."""


def named(name: str) -> Architecture:
    return next(each.architecture for each in catalogue().candidates if each.name.endswith(name))


def measured(what: str, tokens: int) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(CONFIG), what, str(tokens)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("method", ["lora", "dora", "frozen", "full"])
def test_a_training_takes_what_the_formula_says(method: Method) -> None:
    found = measured(method, 768)
    needs = training(MODEL, method, "cpu", 768, width=4)
    assert needs.total - needs.process == pytest.approx(found["peak"], rel=BOUND)
    # Of frozen blocks the scales of their norms are trained too.
    assert needs.trained == pytest.approx(found["trained"], rel=0 if method != "frozen" else 0.001)


def test_serving_takes_what_the_formula_says() -> None:
    found = measured("serve", 512)
    needs = serving(MODEL, "cpu", context=512, concurrency=4, width=4)
    assert needs.total - needs.engine == pytest.approx(found["peak"], rel=BOUND)


def test_keys_and_values_of_a_known_model() -> None:
    # Llama 3.1 8B: 32 layers, 8 heads of 128 for keys and values, 2 bytes: 128 KiB a token (as vLLM says).
    llama = named("Llama-3.1-8B-Instruct")
    assert cache_per_token(llama) == 128 * 1024
    assert serving(llama, "gpu", context=8192, concurrency=4).cache == 4 * GIB
    assert cache_per_token(named("bert-base-uncased")) == 0


def test_a_sliding_window_bounds_the_cache() -> None:
    gemma = named("gemma-3-1b-it")
    each = cache_per_token(gemma) // 26
    assert serving(gemma, "gpu", context=8192, concurrency=1).cache == each * (4 * 8192 + 22 * 512)


def test_four_bits_and_checkpointing_take_less() -> None:
    llama = named("Llama-3.1-8B-Instruct")
    lora, qlora = (training(llama, method, "gpu", 2048) for method in ("lora", "qlora"))
    assert 13 * GIB < lora.weights - qlora.weights + 4 * GIB < 15 * GIB
    again = training(llama, "lora", "gpu", 2048, checkpointing=True)
    assert again.activations < 0.3 * lora.activations


def test_what_peft_says_a_known_adapter_trains() -> None:
    # `print_trainable_parameters` of Llama 3.1 8B with r=16 over all linear layers says 41,943,040.
    llama = named("Llama-3.1-8B-Instruct")
    assert trained_parameters(llama, "lora", 16, 2) == 41_943_040
    assert trained_parameters(llama, "head", 16, 2) == 0


def test_as_many_tokens_as_fit_take_no_more_than_there_is() -> None:
    needs = training(MODEL, "lora", "cpu", 256)
    tokens = most_tokens(4 * GIB, needs, 256)
    assert (
        training(MODEL, "lora", "cpu", tokens).total
        <= 4 * GIB
        < training(MODEL, "lora", "cpu", tokens + 9).total
    )
    assert most_tokens(needs.process, needs, 256) == 0
