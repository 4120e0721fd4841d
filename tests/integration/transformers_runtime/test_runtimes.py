"""Both runtimes with the same model: a client cannot tell which one answers."""

from pathlib import Path
from typing import Any

import pytest

from integration.transformers_runtime.engines import running
from integration.transformers_runtime.judging import TEXTS

QUERY = "What is the capital of France?"
ASKED: dict[str, tuple[str, list[tuple[str, dict[str, Any]]]]] = {
    "bert": ("classify", [("/classify", {"input": TEXTS}), ("/classify", {"input": "great"})]),
    "cross": (
        "score",
        [
            ("/score", {"text_1": QUERY, "text_2": TEXTS}),
            ("/score", {"queries": [QUERY, "a"], "documents": ["b", "c"]}),
            ("/rerank", {"query": QUERY, "documents": TEXTS, "top_n": 3}),
        ],
    ),
    "encoder": (
        "embed",
        [("/v1/embeddings", {"input": TEXTS}), ("/score", {"text_1": QUERY, "text_2": TEXTS})],
    ),
}
OWN = {"id", "created"}
OF_VLLM = {"prompt_tokens_details", "completion_tokens_details"}


def answers(folder: Path, model: Path, runtime: str, *args: str) -> list[Any]:
    task, questions = ASKED[model.name]
    more = ("--runtime", runtime, "--task", task, "--dtype", "float32", *args)
    with running(folder, model, *more, log=runtime) as engine:
        return [engine.post(path, **body) for path, body in questions]


def alike(one: Any, other: Any) -> None:
    """The same shape and texts, and numbers that are near."""
    if isinstance(one, dict):
        assert one.keys() - OF_VLLM == other.keys() - OF_VLLM
        for name in one.keys() - OWN - OF_VLLM:
            alike(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for each, others in zip(one, other, strict=True):
            alike(each, others)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-3)
    else:
        assert one == other


@pytest.mark.parametrize("model", ASKED)
def test_answers_are_alike(models: Path, tmp_path: Path, model: str) -> None:
    pooling = ["--", "--pooler-config", '{"seq_pooling_type": "MEAN"}'] if model == "encoder" else []
    vllm = answers(tmp_path, models / model, "vllm", *pooling)
    alike(vllm, answers(tmp_path, models / model, "transformers"))
