"""Packed examples see nothing of each other; models that cannot be told so are found out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from slipway.training.data.versions import DatasetVersion
from slipway.training.tuning import collation
from slipway.training.tuning.conversations import Tokens
from slipway.training.tuning.examples import Examples, Writer, read
from slipway.training.tuning.packing import keeps_apart
from training.tuning.attempts import Attempt

CPU = torch.device("cpu")
VOCABULARY = 90


@pytest.fixture
def examples(tmp_path: Path) -> Examples:
    draw = np.random.default_rng(0)
    with Writer(tmp_path / "examples") as writer:
        for at, length in enumerate((5, 11, 3, 8)):
            ids = draw.integers(5, VOCABULARY, length).tolist()
            writer.add(Tokens(ids, ids), f"record-{at}", "here")
    return read(tmp_path / "examples")


def mistral() -> Any:
    """Its attention looks back four places."""
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=4,
    )
    return MistralForCausalLM(config)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_a_packed_rows_logits_are_those_of_its_examples_alone(
    family: str, llama: Path, examples: Examples
) -> None:
    load: dict[str, Callable[[], Any]] = {
        "llama": lambda: AutoModelForCausalLM.from_pretrained(llama),
        "mistral": mistral,
    }
    model = load[family]().eval()
    micro = collation.causal(examples, [0, 1, 2, 3], 0, packed=True)
    assert micro.inputs["input_ids"].shape == (1, 27)
    with torch.no_grad():
        packed = model(**micro.inputs, use_cache=False).logits
        for member in range(4):
            ids, _ = examples.tokens(member)
            alone = model(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).logits[0]
            where = micro.at[1][micro.owners == member]
            assert len(where) == len(ids) - 1
            torch.testing.assert_close(packed[0, where], alone[:-1], atol=1e-5, rtol=1e-5)


def test_rows_are_padded_where_nothing_looks(
    llama: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collation, "_ROW", 12)
    model = AutoModelForCausalLM.from_pretrained(llama).eval()
    packed = collation.causal(examples, [0, 1, 2, 3], 0, packed=True)
    single = collation.causal(examples, [0, 1, 2, 3], 0, packed=False)
    assert len(packed.inputs["input_ids"]) < len(single.inputs["input_ids"])
    with torch.no_grad():
        found = [
            {
                (int(owner), place): row
                for place, (owner, row) in enumerate(
                    sorted(
                        zip(
                            each.owners.tolist(),
                            model(**each.inputs, use_cache=False).logits[each.at].tolist(),
                            strict=True,
                        ),
                        key=lambda pair: pair[0],
                    )
                )
            }
            for each in (packed, single)
        ]
    assert found[0].keys() == found[1].keys()
    for key, row in found[0].items():
        assert row == pytest.approx(found[1][key], abs=1e-5)


def test_attention_keeps_apart_and_a_recurrent_model_does_not(llama: Path) -> None:
    recurrent = MambaForCausalLM(
        MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4)
    )
    assert keeps_apart(AutoModelForCausalLM.from_pretrained(llama), VOCABULARY, CPU)
    assert keeps_apart(mistral(), VOCABULARY, CPU)
    assert not keeps_apart(recurrent, VOCABULARY, CPU)


def test_packed_or_not_the_same_is_learned(tmp_path: Path, llama: Path, sums: DatasetVersion) -> None:
    losses = []
    for packing in (True, False):
        attempt = Attempt(tmp_path / str(packing))
        # All in one step, since the order of examples differs: only packed ones need not be alike in length.
        attempt.train(attempt.job(llama, sums, packing=packing, batchSize=18, loraDropout="0", epochs=3))
        losses.append(attempt.losses())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
