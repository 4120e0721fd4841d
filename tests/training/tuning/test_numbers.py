"""Schedules, masters, dropout, losses: the numbers."""

from pathlib import Path

import pytest
import torch
from torch import nn

from slipway.training.data.versions import DatasetVersion
from slipway.training.errors import TuningError
from slipway.training.tuning import devices, schedules
from slipway.training.tuning.dropouts import BulkDropout
from slipway.training.tuning.loop import Loop
from slipway.training.tuning.masters import Masters
from slipway.training.tuning.objectives import Cost, Objective, balanced
from training.tuning.attempts import Attempt


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant", "inverse_sqrt"])
def test_schedules_are_those_of_transformers(kind: str) -> None:
    from transformers import get_scheduler

    total, warmup = 40, 5
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    name = {"constant": "constant_with_warmup"}.get(kind, kind)
    theirs = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=total)
    for step in range(total):
        rate = theirs.get_last_lr()[0]
        # Theirs spends its first step at a rate of 0; ours begins to rise at once.
        if step >= warmup + 1 and kind != "inverse_sqrt":
            assert schedules.factor(kind, step, total, warmup) == pytest.approx(rate, abs=1e-9)
        optimizer.step()
        theirs.step()
    assert schedules.factor(kind, 0, total, warmup) == pytest.approx(1 / warmup)
    assert schedules.factor(kind, warmup - 1, total, warmup) == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masters_step_as_adamw_does(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)).to(dtype)
    theirs = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
    theirs.load_state_dict({name: value.float() for name, value in ours.state_dict().items()})
    masters = Masters(ours, weight_decay=0.1)
    matrices, vectors = ([p for p in theirs.parameters() if (p.dim() > 1) is many] for many in (True, False))
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=1e-2
    )
    for _ in range(5):
        given = torch.randn(4, 8)
        masters.zero()
        ours(given.to(dtype)).float().square().sum().backward()
        masters.collect()
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            gradient = masters._groups[0 if mine.dim() > 1 else 1]
            at = next(i for i, each in enumerate(gradient.parameters) if each is mine)
            other.grad = gradient.views[at][1].clone()
        masters.step(1e-2)
        optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other.to(dtype), atol=1e-6, rtol=1e-5)


def test_small_steps_are_not_lost_in_bfloat16() -> None:
    model = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    nn.init.ones_(model.weight)
    masters = Masters(model, weight_decay=0.0)
    for _ in range(100):
        masters.zero()
        model.weight.grad = torch.ones_like(model.weight)
        masters.collect()
        masters.step(1e-4)  # bfloat16 next to 1 knows steps of 0.004.
    assert model.weight.item() == pytest.approx(0.99, abs=0.003)


def test_gradients_are_scaled_down_to_the_norm() -> None:
    model = nn.Linear(3, 1, bias=False)
    masters = Masters(model, weight_decay=0.0)
    masters.zero()
    model(torch.tensor([[3.0, 0.0, 4.0]])).sum().backward()
    masters.collect()
    assert masters.clip(1.0).item() == pytest.approx(5.0)
    assert masters.clip(1.0).item() == pytest.approx(1.0, rel=1e-4)


def test_dropout_drops_the_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropout = BulkDropout(0.3)
    given = torch.ones(400, 1000)
    found = dropout(given)
    assert (found == 0).float().mean().item() == pytest.approx(0.3, abs=0.005)
    assert found.mean().item() == pytest.approx(1.0, abs=0.005)
    torch.manual_seed(0)
    assert torch.equal(dropout(given), found)
    assert not torch.equal(dropout(given), found)
    assert torch.equal(dropout.eval()(given), given)


def test_balanced_weights_are_scikit_learns() -> None:
    import numpy as np
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0] * 7 + [1] * 2 + [2])
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced(np.bincount(labels)).tolist() == pytest.approx(theirs.tolist())


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_precision_that_is_asked_for_is_taken(asked: str) -> None:
    assert devices.choose_precision(asked, torch.device("cpu")) == asked


@pytest.mark.parametrize(("slow", "fast", "expected"), [(3.0, 1.0, "bfloat16"), (1.0, 0.95, "float32")])
def test_auto_takes_what_is_measured_to_be_faster(
    slow: float, fast: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_seconds", lambda dtype: slow if dtype is torch.float32 else fast)
    assert devices.choose_precision("auto", torch.device("cpu")) == expected


def test_a_loss_that_is_no_number_names_the_step_and_the_records(
    attempt: Attempt, llama: Path, sums: DatasetVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Objective.cost, [0]

    def cost(self: Objective, units: "list[int]") -> Cost:
        found = real(self, units)
        calls[0] += 1
        if calls[0] == 3:
            return Cost(found.total * float("nan"), found.plain * float("nan"), found.right)
        return found

    monkeypatch.setattr(Objective, "cost", cost)
    with pytest.raises(TuningError, match="The loss of step 3 is no finite number") as caught:
        attempt.train(attempt.job(llama, sums, evaluations=0))
    known = {record["id"] for record in sums.rows("train")}
    named = str(caught.value).split("records: ")[1].split(". ")[0].split(", ")
    assert len(named) == 4
    assert set(named) <= known
    assert caught.value.reason == "NotANumber"
    assert len(attempt.losses()) == 2


def test_training_ends_early_with_the_best_weights(
    attempt: Attempt, llama: Path, sums: DatasetVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slipway.training.tuning import loop

    told = iter([3.0, 2.0, 2.5, 2.6, 1.0])
    monkeypatch.setattr(loop, "evaluate", lambda *given: {"eval_loss": next(told)})
    kept: list[dict[str, torch.Tensor]] = []
    real = Loop._evaluate

    def evaluate(self: Loop, validation: Objective) -> None:
        kept.append({name: tensor.clone() for name, tensor in self.masters.weights().items()})
        real(self, validation)

    monkeypatch.setattr(Loop, "_evaluate", evaluate)
    ended: list[dict[str, torch.Tensor]] = []
    run = Loop.run

    def ran(self: Loop) -> object:
        done = run(self)
        ended.append({name: tensor.clone() for name, tensor in self.masters.weights().items()})
        return done

    monkeypatch.setattr(Loop, "run", ran)
    trained = attempt.train(attempt.job(llama, sums, epochs=9, earlyStopping=2))
    assert trained.steps == 4 * 5
    assert all(torch.equal(ended[0][name], kept[1][name]) for name in kept[1])


def test_a_report_that_says_no_ends_it_and_nothing_is_saved(
    attempt: Attempt, llama: Path, sums: DatasetVersion
) -> None:
    seen: list[tuple[int, float]] = []

    def report(step: int, metrics: dict[str, float]) -> bool:
        seen.append((step, metrics["eval_loss"]))
        return len(seen) < 2

    trained = attempt.train(attempt.job(llama, sums, epochs=9), report)
    assert trained.pruned
    assert trained.artifact is None
    assert [step for step, _ in seen] == [5, 10]
    assert not (attempt.run.folder / "train/artifact").exists()
