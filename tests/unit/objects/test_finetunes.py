"""FineTune: a small one is short, and what does not fit together is refused."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from slipway.objects import FineTune

DATA: dict[str, Any] = {"sources": [{"name": "a", "source": "s3://bucket/data.jsonl"}]}


def test_sources_beside_the_file_are_found_from_anywhere() -> None:
    given = {
        "sources": [{"name": "a", "source": "file://./data/a.jsonl"}, {**DATA["sources"][0], "name": "b"}]
    }
    made = fine_tune(dataset=given).located(Path("/somewhere/here"))
    assert [each.source for each in made.spec.dataset.sources] == [
        "file:///somewhere/here/data/a.jsonl",
        "s3://bucket/data.jsonl",
    ]
    assert fine_tune().located(Path("/somewhere")) == fine_tune()


def fine_tune(**spec: Any) -> FineTune:
    asked = {
        "baseModel": {"source": "hf://org/name"},
        "dataset": DATA,
        **spec,
    }
    return FineTune.model_validate({"metadata": {"name": "a"}, "spec": asked})


def test_base_model_and_data_are_enough() -> None:
    made = fine_tune()
    assert made.spec.method == "lora"
    assert made.spec.hyperparameters.learning_rate.number == 2e-4
    assert made.adapter_name == "a"
    assert fine_tune(deploy={"service": "small", "name": "small-formal"}).adapter_name == "small-formal"


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"search": {"parameters": [{"name": "loraRank"}]}}, "by values, or by min and max"),
        ({"search": {"parameters": [{"name": "loraRank", "values": ["8"], "min": "1"}]}}, "one of the two"),
        ({"search": {"parameters": [{"name": "learningRate", "min": "1e-5"}]}}, "by min and max"),
        ({"evaluation": {"gates": [{"metric": "eval_loss"}]}}, "a gate needs a bound"),
        ({"hyperparameters": {"learningRate": 0.1}}, "valid string"),
        ({"task": "classify"}, "format classification goes with task classify"),
        ({"task": "tag", "dataset": {**DATA, "format": "classification"}}, "format tokens with task tag"),
        ({"dataset": {"sources": []}}, "at least 1 item"),
    ],
)
def test_what_does_not_fit_together_is_refused(spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        fine_tune(**spec)
