"""What may be searched, and what is refused before anything starts."""

from typing import Any

import pytest

from slipway.objects.hyperparameters import Hyperparameters
from slipway.training.errors import SearchError
from slipway.training.search.spaces import Space, with_parameters
from training.search.functions import spec

BASE = Hyperparameters()


def space(*parameters: dict[str, Any], **asked: Any) -> Space:
    return Space.of(spec(parameters=list(parameters), **asked), BASE)


@pytest.mark.parametrize(
    ("parameter", "sentence"),
    [
        (
            {"name": "learning_rate", "values": ["1e-4"]},
            "`learning_rate` is no hyperparameter .* learningRate",
        ),
        ({"name": "lr", "values": ["1e-4"]}, "`lr` is no hyperparameter .* batchSize, beta, classWeights"),
        ({"name": "extra", "values": ["1"]}, "`extra` is no hyperparameter"),
        ({"name": "learningRate", "values": ["1e-4", "fast"]}, "`fast` is no value for `learningRate`"),
        ({"name": "loraRank", "values": ["8", "0"]}, "`0` is no value for `loraRank`"),
        ({"name": "loraRank", "values": ["8", "8"]}, "`loraRank` has 8 more than once"),
        ({"name": "scheduler", "values": ["cosine", "cyclic"]}, "`cyclic` is no value for `scheduler`"),
        ({"name": "scheduler", "min": "0", "max": "1"}, "`scheduler` is no number"),
        ({"name": "packing", "min": "0", "max": "1"}, "`packing` is no number"),
        ({"name": "loraDropout", "min": "0", "max": "2"}, "`2` is no value for `loraDropout`"),
        ({"name": "loraRank", "min": "0.5", "max": "8"}, "`loraRank` is a whole number"),
        ({"name": "loraRank", "min": "16", "max": "8"}, "begins at 16 and ends at 8"),
        ({"name": "weightDecay", "min": "0", "max": "0.1", "scale": "log"}, "must begin above 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(parameter: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SearchError, match=sentence) as caught:
        space(parameter)
    assert caught.value.reason == "BadSpace"


def test_a_grid_takes_no_ranges() -> None:
    with pytest.raises(SearchError, match="give `values` instead of `min`"):
        space({"name": "loraRank", "min": "4", "max": "8"}, algorithm="grid")


def test_values_become_hyperparameters_of_their_types() -> None:
    parameters = {
        "learningRate": "3e-5",
        "loraRank": "8",
        "packing": "false",
        "loraTargets": "q_proj,v_proj",
        "microBatchSize": "4",
    }
    made = with_parameters(Hyperparameters(epochs=7), parameters)
    assert (made.learning_rate.number, made.lora_rank, made.packing) == (3e-5, 8, False)
    assert (made.lora_targets, made.micro_batch_size, made.epochs) == (("q_proj", "v_proj"), 4, 7)


@pytest.mark.parametrize("value", [1e-6, 2.34567891e-5, 9.99999e-5, 1e-4, 0.000123456, 0.05, 0.1, 0.0999999])
def test_every_drawn_number_is_written_as_the_object_wants_it(value: float) -> None:
    axis = space({"name": "learningRate", "min": "1e-6", "max": "0.1", "scale": "log"}).axes[0]
    text = axis.text(value)
    assert with_parameters(BASE, {"learningRate": text}).learning_rate.number == pytest.approx(
        value, rel=1e-3
    )
    assert axis.low <= axis.value(text) <= axis.high


@pytest.mark.parametrize("value", [0.0, 1e-9, 3.3e-6, 0.123456, 0.5])
def test_every_drawn_share_is_written_as_the_object_wants_it(value: float) -> None:
    axis = space({"name": "loraDropout", "min": "0", "max": "0.5"}).axes[0]
    made = with_parameters(BASE, {"loraDropout": axis.text(value)})
    assert made.lora_dropout.number == pytest.approx(value, rel=1e-3, abs=1e-9)


def test_a_space_knows_its_points_and_its_longest_training() -> None:
    finite = space(
        {"name": "loraRank", "min": "4", "max": "8"},
        {"name": "epochs", "values": ["1", "5"]},
    )
    assert finite.size == 10
    assert finite.evaluations() == 5
    assert space({"name": "loraDropout", "min": "0", "max": "0.5"}).size is None
