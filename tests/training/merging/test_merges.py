"""Merged adapters: beside sums worked out by hand, and refused where they do not fit."""

import json
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from slipway.training.errors import TuningError
from slipway.training.merging.adapters import METHODS, Adapter, Method, read
from slipway.training.merging.merges import merge
from training.merging.samples import adapter, base

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
LAYER = "model.layers.1.mlp.down_proj"
A, B = (f"base_model.model.{LAYER}.lora_{side}.weight" for side in "AB")


def factors(each: Adapter) -> tuple[torch.Tensor, torch.Tensor, float]:
    """A [rank, inputs], B [outputs, rank] and the scale of one layer's update."""
    tensors = load_file(each.weights)
    scale = each.config["lora_alpha"] / (
        math.sqrt(each.config["r"]) if each.config["use_rslora"] else each.config["r"]
    )
    return tensors[A], tensors[B], scale


def update(each: Adapter) -> torch.Tensor:
    """What the adapter adds to the layer [outputs, inputs]."""
    a, b, scale = factors(each)
    return scale * (b @ a)


@pytest.fixture
def pair(tmp_path: Path) -> list[Adapter]:
    return [adapter(tmp_path / "one", 1), adapter(tmp_path / "two", 2)]


def test_linear_is_the_product_of_the_weighted_sums_of_the_factors(
    pair: list[Adapter], tmp_path: Path
) -> None:
    merge(pair, [0.7, 0.3], "linear", tmp_path / "merged")
    (a1, b1, s1), (a2, b2, s2) = map(factors, pair)
    a = math.sqrt(0.7 * s1) * a1 + math.sqrt(0.3 * s2) * a2
    b = math.sqrt(0.7 * s1) * b1 + math.sqrt(0.3 * s2) * b2
    torch.testing.assert_close(update(read(tmp_path / "merged", "merged")), b @ a)


def test_a_negative_weight_takes_an_adapter_away(pair: list[Adapter], tmp_path: Path) -> None:
    merge(pair, [1.0, -0.5], "cat", tmp_path / "merged")
    expected = update(pair[0]) - 0.5 * update(pair[1])
    torch.testing.assert_close(update(read(tmp_path / "merged", "merged")), expected)


def test_cat_is_the_sum_of_the_updates_exactly_also_of_different_ranks(tmp_path: Path) -> None:
    pair = [adapter(tmp_path / "one", 1), adapter(tmp_path / "two", 2, r=2, lora_alpha=6)]
    told = merge(pair, [0.7, 0.3], "cat", tmp_path / "merged")
    assert told["rank"] == 6
    expected = 0.7 * update(pair[0]) + 0.3 * update(pair[1])
    torch.testing.assert_close(update(read(tmp_path / "merged", "merged")), expected)


def test_svd_is_the_best_approximation_of_the_sum(pair: list[Adapter], tmp_path: Path) -> None:
    merge(pair, [0.5, 0.5], "svd", tmp_path / "merged")
    total = 0.5 * update(pair[0]) + 0.5 * update(pair[1])
    u, s, v = torch.linalg.svd(total)
    expected = u[:, :4] @ torch.diag(s[:4]) @ v[:4]
    torch.testing.assert_close(update(read(tmp_path / "merged", "merged")), expected, atol=1e-5, rtol=1e-4)
    merge(pair, [0.5, 0.5], "svd", tmp_path / "whole", rank=8)
    torch.testing.assert_close(update(read(tmp_path / "whole", "whole")), total, atol=1e-5, rtol=1e-4)


def test_ties_keeps_the_largest_values_of_the_majoritys_sign(pair: list[Adapter], tmp_path: Path) -> None:
    merge(pair, [1.0, 1.0], "ties", tmp_path / "merged", density=0.5)
    trimmed = []
    for each in pair:
        a, _, scale = factors(each)
        kept = a.abs() >= a.abs().flatten().sort(descending=True).values[a.numel() // 2 - 1]
        trimmed.append(a * kept * math.sqrt(scale))
    stack = torch.stack(trimmed)
    agrees = stack.sign() == torch.where(stack.sum(dim=0) >= 0, 1, -1)
    expected = (stack * agrees).sum(dim=0) / agrees.sum(dim=0).clamp(min=1)
    torch.testing.assert_close(load_file(tmp_path / "merged" / "adapter_model.safetensors")[A], expected)


def test_dare_draws_by_its_seed_and_keeps_the_mean(pair: list[Adapter], tmp_path: Path) -> None:
    drawn = []
    for at, seed in enumerate((1, 1, 2)):
        merge(pair, [0.5, 0.5], "dare_linear", tmp_path / str(at), density=0.5, seed=seed)
        drawn.append(load_file(tmp_path / str(at) / "adapter_model.safetensors")[A])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    (a1, _, s1), (a2, _, s2) = map(factors, pair)
    whole = math.sqrt(0.5 * s1) * a1 + math.sqrt(0.5 * s2) * a2
    mean = torch.zeros_like(whole)
    for seed in range(40):
        merge(pair, [0.5, 0.5], "dare_linear", tmp_path / f"mean{seed}", density=0.5, seed=seed)
        mean += load_file(tmp_path / f"mean{seed}" / "adapter_model.safetensors")[A] / 40
    assert (mean - whole).abs().mean() < 0.25 * whole.abs().mean()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_an_adapter_that_peft_loads(
    pair: list[Adapter], tmp_path: Path, method: Method
) -> None:
    merge(pair, [0.6, 0.4], method, tmp_path / "merged")
    model = PeftModel.from_pretrained(base(), tmp_path / "merged")
    ids = torch.arange(10)[None]
    with torch.no_grad():
        merged = model(ids).logits
        with model.disable_adapter():
            plain = model(ids).logits
    assert torch.isfinite(merged).all()
    assert not torch.allclose(merged, plain)


def test_the_merge_speaks_as_the_sum_of_the_updates_does(pair: list[Adapter], tmp_path: Path) -> None:
    merge(pair, [0.5, 0.5], "cat", tmp_path / "merged")
    merged = PeftModel.from_pretrained(base(), tmp_path / "merged")
    by_hand = base()
    with torch.no_grad():
        for each in pair:
            tensors = load_file(each.weights)
            for layer in each.layers:
                a, b = (tensors[f"base_model.model.{layer}.lora_{side}.weight"] for side in "AB")
                by_hand.get_submodule(layer).weight += 0.5 * 2 * (b @ a)  # alpha / rank is 2.
        ids = torch.arange(12)[None]
        torch.testing.assert_close(merged(ids).logits, by_hand(ids).logits, atol=1e-5, rtol=1e-4)


def test_the_scale_of_rank_stabilized_adapters_is_kept(tmp_path: Path) -> None:
    pair = [adapter(tmp_path / str(seed), seed, use_rslora=True) for seed in (1, 2)]
    merge(pair, [0.5, 0.5], "cat", tmp_path / "merged")
    expected = 0.5 * update(pair[0]) + 0.5 * update(pair[1])
    torch.testing.assert_close(update(read(tmp_path / "merged", "merged")), expected)


def test_layers_that_only_one_adapter_changes_are_taken_from_it(tmp_path: Path) -> None:
    pair = [adapter(tmp_path / "one", 1), adapter(tmp_path / "two", 2, target_modules=["q_proj"])]
    merge(pair, [0.5, 0.5], "cat", tmp_path / "merged")
    torch.testing.assert_close(update(read(tmp_path / "merged", "merged")), 0.5 * update(pair[0]))


def test_the_lineage_names_what_it_was_made_of(pair: list[Adapter], tmp_path: Path) -> None:
    merge(pair, [0.6, 0.4], "dare_ties", tmp_path / "merged", density=0.3, seed=5)
    told = json.loads((tmp_path / "merged" / "merge.json").read_text())
    assert told["adapters"] == [
        {"name": "one", "digest": pair[0].digest, "weight": 0.6},
        {"name": "two", "digest": pair[1].digest, "weight": 0.4},
    ]
    assert (told["method"], told["density"], told["seed"], told["rank"]) == ("dare_ties", 0.3, 5, 4)
    assert told["base"] == {"source": "hf://org/base@c0ffee", "digest": "sha256:base"}
    assert sorted(path.name for path in (tmp_path / "merged").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "merge.json",
        "tokenizer_config.json",
    ]


def test_adapters_of_different_bases_are_refused(tmp_path: Path) -> None:
    pair = [adapter(tmp_path / "one", 1), adapter(tmp_path / "two", 2, digest="sha256:other")]
    with pytest.raises(TuningError, match="only adapters of one base") as caught:
        merge(pair, [0.5, 0.5], "cat", tmp_path / "merged")
    assert caught.value.reason == "OtherBase"
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("method", ["linear", "ties", "dare_linear", "dare_ties"])
def test_different_ranks_are_refused_where_factors_are_added(tmp_path: Path, method: Method) -> None:
    pair = [adapter(tmp_path / "one", 1), adapter(tmp_path / "two", 2, r=2)]
    with pytest.raises(TuningError, match=r"one has 4, two has 2.*take svd, cat or ties_svd"):
        merge(pair, [0.5, 0.5], method, tmp_path / "merged")


def test_what_does_not_add_up_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TuningError, match="DoRA"):
        adapter(tmp_path / "dora", 1, use_dora=True)
    with pytest.raises(TuningError, match="trained head"):
        adapter(tmp_path / "head", 1, modules_to_save=["lm_head"])
    pair = [adapter(tmp_path / "one", 1), adapter(tmp_path / "two", 2)]
    with pytest.raises(TuningError, match="a weight for each"):
        merge(pair, [1.0], "cat", tmp_path / "merged")
    with pytest.raises(TuningError, match="Density"):
        merge(pair, [0.5, 0.5], "ties", tmp_path / "merged", density=0.0)
    with pytest.raises(TuningError, match="rank of the result"):
        merge(pair, [0.5, 0.5], "cat", tmp_path / "merged", rank=8)
