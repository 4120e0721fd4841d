"""An encoder that gives vectors."""

import base64
import struct

import openai
import pytest

from integration.transformers_runtime.engines import KEY, Engine, Reference
from integration.transformers_runtime.judging import TEXTS

MODEL, TASK = "encoder", "embed"


def test_vectors_are_the_means_of_the_last_states(engine: Engine, reference: Reference) -> None:
    wanted = [reference.ask(MODEL, "embed", text=text) for text in TEXTS]
    answer = engine.post("/v1/embeddings", input=TEXTS)
    for index, (found, expected) in enumerate(zip(answer["data"], wanted, strict=True)):
        assert (found["object"], found["index"]) == ("embedding", index)
        assert found["embedding"] == pytest.approx(expected, abs=1e-5)
    packed = engine.post("/v1/embeddings", input=TEXTS[0], encoding_format="base64")["data"][0]["embedding"]
    raw = base64.b64decode(packed)
    assert struct.unpack(f"<{len(raw) // 4}f", raw) == pytest.approx(wanted[0], abs=1e-5)


def test_the_official_client_reads_them(engine: Engine) -> None:
    with openai.OpenAI(base_url=f"{engine.url}/v1", api_key=KEY, max_retries=0) as client:
        made = client.embeddings.create(model=MODEL, input=TEXTS[:2])
        assert sum(each**2 for each in made.data[1].embedding) == pytest.approx(1, abs=1e-5)


def test_scores_are_cosines(engine: Engine) -> None:
    data = engine.post("/v1/embeddings", input=TEXTS[:2])["data"]
    cosine = sum(a * b for a, b in zip(data[0]["embedding"], data[1]["embedding"], strict=True))
    scores = engine.post("/score", text_1=TEXTS[0], text_2=TEXTS[:2])["data"]
    assert [each["score"] for each in scores] == pytest.approx([1, cosine], abs=1e-5)
