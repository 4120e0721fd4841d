"""What the tests of all classifiers check."""

from typing import Any

import pytest

from integration.transformers_runtime.engines import Engine, Reference

TEXTS = [
    "great",
    "That film is terrible, boring and far too long; do not watch it.",
    "The sea is deep",
    "Alice Smith met Bob Jones in Berlin, and they flew to New York.",
]


def check_labels(engine: Engine, reference: Reference, model: str) -> None:
    """Labels and probabilities are those of Transformers, alone and in one padded batch."""
    wanted = [reference.ask(model, "classify", text=text) for text in TEXTS]
    whole = engine.post("/classify", input=TEXTS)
    assert set(whole) == {"id", "object", "created", "model", "data", "usage"}
    assert (whole["object"], whole["model"]) == ("list", model)
    alone: list[Any] = [engine.post("/classify", input=text)["data"][0] for text in TEXTS]
    for index, (expected, batched, single) in enumerate(zip(wanted, whole["data"], alone, strict=True)):
        assert set(batched) == {"index", "label", "probs", "num_classes"}
        assert (batched["index"], batched["num_classes"]) == (index, 3)
        for found in (batched, single):
            assert found["label"] == expected["label"]
            assert found["probs"] == pytest.approx(expected["probs"], abs=1e-4)


def check_batching(engine: Engine, path: str, body: dict[str, Any], texts: int) -> None:
    """Requests that come at once share passes."""
    before = engine.metric("forward_passes_total", kind="whole")
    rows = engine.metric("batch_rows_sum")
    engine.at_once(path, [body] * 24)
    assert engine.metric("batch_rows_sum") - rows == 24 * texts
    assert engine.metric("forward_passes_total", kind="whole") - before < 24
