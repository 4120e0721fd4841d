"""What a model is, and how long its inputs may be."""

from typing import Any

import pytest

from slipway.engine.failures import StartError
from slipway.engine.transformers_runtime.kinds import (
    WITHOUT_LIMIT,
    activation_of,
    kind_of,
    longest_input,
)

UNSET = 10**30
"""What tokenizers say that know no limit."""


@pytest.mark.parametrize(
    ("task", "architecture", "encoder_decoder", "labels", "kind"),
    [
        ("generate", "T5ForConditionalGeneration", True, 2, "text-to-text"),
        ("generate", "MarianMTModel", True, 2, "text-to-text"),
        ("classify", "BertForSequenceClassification", False, 3, "texts"),
        ("classify", "BartForSequenceClassification", True, 3, "texts"),
        ("classify", "RobertaForTokenClassification", False, 9, "tokens"),
        ("score", "BertForSequenceClassification", False, 1, "pairs"),
        ("score", "BertModel", False, 2, "vectors"),
        ("embed", "XLMRobertaModel", False, 2, "vectors"),
    ],
)
def test_the_architecture_tells_what_comes_out(
    task: str, architecture: str, encoder_decoder: bool, labels: int, kind: str
) -> None:
    assert kind_of(task, [architecture], encoder_decoder=encoder_decoder, labels=labels) == kind


@pytest.mark.parametrize(
    ("task", "architecture", "encoder_decoder", "labels", "mend"),
    [
        ("generate", "LlamaForCausalLM", False, 2, "runtime: vllm"),
        ("generate", "BartForSequenceClassification", True, 3, "model.task: classify"),
        ("classify", "BertModel", False, 2, "ForSequenceClassification"),
        ("score", "BertForSequenceClassification", False, 3, "model.task: classify"),
        ("score", "T5ForConditionalGeneration", True, 2, "encoder"),
        ("embed", "RobertaForTokenClassification", False, 2, "encoder"),
    ],
)
def test_a_model_that_cannot_do_the_task_is_refused_with_the_mend(
    task: str, architecture: str, encoder_decoder: bool, labels: int, mend: str
) -> None:
    with pytest.raises(StartError, match=mend) as caught:
        kind_of(task, [architecture], encoder_decoder=encoder_decoder, labels=labels)
    assert caught.value.reason == "ModelNotSupported"
    assert architecture in str(caught.value)


@pytest.mark.parametrize(
    ("config", "labels", "activation"),
    [
        ({}, 3, "softmax"),
        ({}, 1, "sigmoid"),
        ({"problem_type": "regression"}, 1, "none"),
        ({"problem_type": "multi_label_classification"}, 3, "sigmoid"),
        ({"problem_type": "single_label_classification"}, 3, "softmax"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}, 1, "none"),
        ({"sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid"}, 1, "sigmoid"),
    ],
)
def test_the_configuration_tells_what_makes_probabilities(
    config: dict[str, Any], labels: int, activation: str
) -> None:
    assert activation_of(config, labels) == activation


def test_a_function_that_is_not_known_is_never_looked_up() -> None:
    config = {"sentence_transformers": {"activation_fn": "os.system"}}
    with pytest.raises(StartError, match=r"os\.system"):
        activation_of(config, 1)


@pytest.mark.parametrize(
    ("config", "tokenizers", "asked", "longest"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, UNSET, None, 512),
        ({"model_type": "bert", "max_position_embeddings": 512}, 128, None, 128),
        ({"model_type": "bert", "max_position_embeddings": 512}, 128, 256, 256),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, UNSET, None, 512),
        ({"model_type": "t5", "n_positions": 512}, UNSET, None, 512),
        ({"model_type": "t5", "n_positions": 512}, 512, 4096, 4096),
        ({"model_type": "xlnet", "max_position_embeddings": -1}, UNSET, None, WITHOUT_LIMIT),
    ],
)
def test_the_longest_input(config: dict[str, Any], tokenizers: int, asked: int | None, longest: int) -> None:
    assert longest_input(config, tokenizers, asked) == longest


def test_more_than_the_model_has_places_for_is_refused() -> None:
    with pytest.raises(StartError, match="512 positions") as caught:
        longest_input({"max_position_embeddings": 512}, UNSET, 513)
    assert caught.value.reason == "WrongMaxModelLen"
