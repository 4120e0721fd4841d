"""An XLNet that labels texts: padded on the left, with a token type of its own for padding."""

from integration.transformers_runtime.engines import Engine, Reference
from integration.transformers_runtime.judging import TEXTS, check_batching, check_labels

MODEL, TASK = "xlnet", "classify"


def test_labels_are_those_of_transformers(engine: Engine, reference: Reference) -> None:
    check_labels(engine, reference, MODEL)


def test_concurrent_requests_share_forward_passes(engine: Engine) -> None:
    check_batching(engine, "/classify", {"input": TEXTS}, len(TEXTS))


def test_a_model_without_a_limit_of_its_own_has_a_bound(engine: Engine) -> None:
    limit = engine.ask("GET", "/v1/models")[1]["data"][0]["max_model_len"]
    assert limit == 2048
    assert engine.refused("/classify", input="sea " * 2100)[0] == 400
