"""Each method trains what it should, on each kind of model, and leaves what can be loaded."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from slipway.training.data.versions import DatasetVersion
from slipway.training.errors import DataError, TuningError
from training.tuning.attempts import Attempt
from training.tuning.datasets import chat, version


def changed(base: Path, artifact: Path) -> set[str]:
    """Names of tensors that training moved."""
    before, after = (load_file(folder / "model.safetensors") for folder in (base, artifact))
    return {
        name for name, tensor in after.items() if name not in before or not torch.equal(before[name], tensor)
    }


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_an_adapter_learns_and_is_loaded_by_peft(
    method: str, attempt: Attempt, llama: Path, sums: DatasetVersion
) -> None:
    from peft import PeftModel

    trained = attempt.train(attempt.job(llama, sums, method=method, epochs=4))
    assert trained.kind == "adapter"
    assert trained.artifact is not None
    losses = attempt.losses()
    assert losses[-1] < losses[0] - 0.1
    assert trained.metrics["eval_loss"] < losses[0]
    files = {path.name for path in trained.artifact.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "training.json"} <= files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    model = AutoModelForCausalLM.from_pretrained(llama)
    ids = torch.tensor([[5, 6, 7]])
    before = model(ids).logits
    adapted = PeftModel.from_pretrained(model, trained.artifact)
    assert not torch.allclose(before, adapted(ids).logits)


def test_training_json_says_how_it_was_made(attempt: Attempt, llama: Path, sums: DatasetVersion) -> None:
    trained = attempt.train(attempt.job(llama, sums), base_digest="sha256:abc", base_source="hf://a/b@c")
    assert trained.artifact is not None
    document = json.loads((trained.artifact / "training.json").read_text())
    assert document["base"] == {"source": "hf://a/b@c", "digest": "sha256:abc", "name": "llama"}
    assert document["dataset"]["digest"] == sums.digest
    assert document["seed"] == 0
    assert document["versions"]["torch"] == torch.__version__.split("+")[0]
    assert document["steps"] == trained.steps == 10
    assert document["metrics"]["eval_loss"] == trained.metrics["eval_loss"]
    config = json.loads((trained.artifact / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "hf://a/b@c"


def test_full_trains_every_weight(attempt: Attempt, llama: Path, sums: DatasetVersion) -> None:
    trained = attempt.train(attempt.job(llama, sums, method="full", learningRate="1e-3"))
    assert trained.kind == "model"
    assert trained.artifact is not None
    assert changed(llama, trained.artifact) == set(load_file(llama / "model.safetensors"))


def test_frozen_trains_the_last_layers_alone(attempt: Attempt, llama: Path, sums: DatasetVersion) -> None:
    trained = attempt.train(attempt.job(llama, sums, method="frozen", trainedLayers=1))
    assert trained.artifact is not None
    moved = changed(llama, trained.artifact)
    assert moved
    assert all(name.startswith("model.layers.1.") for name in moved)


def test_a_head_is_trained_over_features_that_stay(
    attempt: Attempt, bert: Path, labelled: DatasetVersion
) -> None:
    trained = attempt.train(attempt.job(bert, labelled, task="classify", method="head"))
    assert trained.artifact is not None
    moved = changed(bert, trained.artifact)
    assert {name for name in moved if not name.startswith("bert.pooler")} == {
        "classifier.weight",
        "classifier.bias",
    }


@pytest.mark.parametrize("method", ["full", "lora"])
def test_texts_are_classified(method: str, attempt: Attempt, bert: Path, labelled: DatasetVersion) -> None:
    settings: dict[str, Any] = {"classWeights": "balanced", "labelSmoothing": "0.05"}
    trained = attempt.train(
        attempt.job(
            bert, labelled, task="classify", method=method, epochs=12, learningRate="5e-3", **settings
        )
    )
    assert trained.artifact is not None
    assert trained.metrics["eval_accuracy"] == 1.0
    assert json.loads((trained.artifact / "training.json").read_text())["labels"] == ["bad", "good"]
    if method == "full":
        model = AutoModelForSequenceClassification.from_pretrained(trained.artifact)
        assert model.config.id2label == {0: "bad", 1: "good"}


def test_a_decoder_classifies_too(attempt: Attempt, llama: Path, labelled: DatasetVersion) -> None:
    trained = attempt.train(
        attempt.job(llama, labelled, task="classify", method="lora", epochs=12, learningRate="1e-2")
    )
    assert trained.metrics["eval_accuracy"] == 1.0


def test_tokens_are_tagged_at_the_first_piece_of_a_word(attempt: Attempt, bert: Path, tmp_path: Path) -> None:
    rows = [
        {"format": "tokens", "tokens": [f"w{at}", str(at), "x"], "tags": ["O", "NUMBER", "O"]}
        for at in range(16)
    ]
    data = version(tmp_path / "tags", {"train": rows[:12], "validation": rows[12:]})
    trained = attempt.train(
        attempt.job(bert, data, task="tag", method="full", epochs=12, learningRate="5e-3")
    )
    assert trained.artifact is not None
    assert trained.metrics["eval_accuracy"] > 0.9
    assert AutoModelForTokenClassification.from_pretrained(trained.artifact).config.num_labels == 2


@pytest.mark.parametrize("method", ["full", "lora"])
def test_an_encoder_decoder_learns_what_is_written(
    method: str, attempt: Attempt, t5: Path, sums: DatasetVersion
) -> None:
    attempt.train(attempt.job(t5, sums, method=method, epochs=4))
    losses = attempt.losses()
    assert losses[-1] < 0.9 * losses[0]


def test_text_goes_on_in_the_next_example_where_it_is_long(
    attempt: Attempt, llama: Path, tmp_path: Path
) -> None:
    rows = [{"format": "text", "text": f"{at} bottles of beer on the wall. " * 9} for at in range(4)]
    data = version(tmp_path / "text", {"train": rows, "validation": rows[:1]})
    trained = attempt.train(attempt.job(llama, data, epochs=1))
    tokenized = sum(len(row["text"]) + 1 for row in rows)  # One token a byte, and the end.
    assert trained.tokens == tokenized


def test_a_preference_is_learned_against_the_base_without_a_second_model(
    attempt: Attempt, llama: Path, tmp_path: Path
) -> None:
    rows = [
        {
            "format": "preference",
            "messages": chat(f"say {at}", "")["messages"][:1],
            "chosen": "yes please",
            "rejected": "no",
        }
        for at in range(12)
    ]
    data = version(tmp_path / "preferences", {"train": rows[:8], "validation": rows[8:]})
    trained = attempt.train(attempt.job(llama, data, epochs=6, beta="0.5"))
    losses = attempt.losses()
    assert losses[0] == pytest.approx(0.6931, abs=1e-3)  # Nothing is preferred yet: -log(1/2).
    assert losses[-1] < 0.5
    assert trained.metrics["eval_accuracy"] == 1.0


def test_each_source_of_a_mixture_has_its_own_loss(
    attempt: Attempt, llama: Path, sums: DatasetVersion
) -> None:
    metrics = attempt.train(attempt.job(llama, sums, epochs=1)).metrics
    assert {"eval_loss/even", "eval_loss/odd"} <= set(metrics)


def test_preferences_are_not_mixed_with_other_formats(attempt: Attempt, llama: Path, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        chat("a", "b"),
        {"format": "preference", "messages": chat("a")["messages"], "chosen": "b", "rejected": "c"},
    ]
    with pytest.raises(DataError, match="cannot be mixed"):
        attempt.train(attempt.job(llama, version(tmp_path / "mixed", {"train": rows})))


def test_qlora_without_a_gpu_names_the_mend(attempt: Attempt, llama: Path, sums: DatasetVersion) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(TuningError, match=r"needs a GPU.*Use method lora") as caught:
        attempt.train(attempt.job(llama, sums, method="qlora"))
    assert caught.value.reason == "NeedsGPU"


def test_a_head_has_nothing_to_write_with(attempt: Attempt, llama: Path, sums: DatasetVersion) -> None:
    with pytest.raises(TuningError, match="use lora or frozen"):
        attempt.train(attempt.job(llama, sums, method="head"))


def test_an_unknown_argument_is_refused_by_name(attempt: Attempt, llama: Path, sums: DatasetVersion) -> None:
    with pytest.raises(TuningError, match="extra: group_by_length is not known"):
        attempt.train(attempt.job(llama, sums, extra={"group_by_length": True}))
