"""However a step is divided, into micro-batches or processes, it learns the same."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slipway.training.data.versions import DatasetVersion
from slipway.training.tuning import memory
from slipway.training.tuning.objectives import Objective
from training.tuning.attempts import Attempt

SETTINGS = {"loraDropout": "0", "batchSize": 6, "epochs": 2}
PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from slipway.training.data.versions import DatasetVersion
from training.tuning.attempts import Attempt
from training.tuning.test_accumulation import SETTINGS
attempt = Attempt(Path({root!r}))
attempt.train(attempt.job(Path({base!r}), DatasetVersion.read(Path({data!r})), **SETTINGS))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, llama: Path, sums: DatasetVersion) -> Attempt:
    """Each step at once."""
    attempt = Attempt(tmp_path_factory.mktemp("whole"))
    attempt.train(attempt.job(llama, sums, **SETTINGS))
    return attempt


def tensors(attempt: Attempt) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(
        attempt.root / "runs/sample/train/artifact/adapter_model.safetensors"
    )
    return found


def same(attempt: Attempt, other: Attempt) -> None:
    assert attempt.losses() == pytest.approx(other.losses(), rel=1e-4)
    for name, tensor in tensors(attempt).items():
        torch.testing.assert_close(tensor, tensors(other)[name], atol=2e-4, rtol=1e-2)


@pytest.mark.parametrize("micro", [1, 4])
def test_the_loss_does_not_depend_on_the_size_of_micro_batches(
    micro: int, attempt: Attempt, llama: Path, sums: DatasetVersion, whole: Attempt
) -> None:
    attempt.train(attempt.job(llama, sums, microBatchSize=micro, **SETTINGS))
    same(attempt, whole)


def test_two_processes_learn_what_one_does(
    tmp_path: Path, llama: Path, sums: DatasetVersion, whole: Attempt
) -> None:
    attempt = Attempt(tmp_path / "two")
    program = PROGRAM.format(
        tests=str(Path(__file__).parents[2]), root=str(attempt.root), base=str(llama), data=str(sums.folder)
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=os.environ
            | {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
            },
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(110) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    same(attempt, whole)
    assert [line["step"] for line in attempt.run.metrics() if "loss" in line] == list(range(1, 7))


def test_out_of_memory_is_answered_by_half_the_micro_batch(
    attempt: Attempt, llama: Path, sums: DatasetVersion, whole: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A real failure of the allocator, of a size that no machine has, where more than two are worked on.
    real = Objective.cost

    def cost(self: Objective, units: "list[int]") -> object:
        if len(units) > 2:
            torch.empty(1 << 60)
        return real(self, units)

    monkeypatch.setattr(Objective, "cost", cost)
    attempt.train(attempt.job(llama, sums, **SETTINGS))
    same(attempt, whole)
    assert "from now on 3 examples are worked on at once" in attempt.said()
    assert "from now on 1 examples are worked on at once" in attempt.said()


def test_one_example_too_large_says_what_to_lower(
    attempt: Attempt, llama: Path, sums: DatasetVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slipway.training.errors import TuningError

    monkeypatch.setattr(Objective, "cost", lambda self, units: torch.empty(1 << 60))
    with pytest.raises(TuningError, match=r"Lower maxLength.*gradientCheckpointing") as caught:
        attempt.train(attempt.job(llama, sums, **SETTINGS))
    assert caught.value.reason == "OutOfMemory"


def test_a_control_group_that_is_nearly_full_counts_as_out_of_memory(
    attempt: Attempt, llama: Path, sums: DatasetVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "nearly_full", lambda: True)
    attempt.train(attempt.job(llama, sums, **SETTINGS))
    assert "the control group's memory is nearly used up" in attempt.said()


def test_a_control_groups_limit_bounds_what_is_free(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 64000 kB\nMemAvailable: 32000 kB\n")
    (tmp_path / "proc/self/statm").write_text("100000 1000 1 1 1 1 1\n")
    device = torch.device("cpu")
    assert memory.free(device, tmp_path) == 32_000 * 1024
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("8388608\n")
    assert memory.free(device, tmp_path) == 8_388_608 - 1000 * 4096
    assert not memory.nearly_full(tmp_path)
    (tmp_path / "proc/self/statm").write_text("100000 2000 1 1 1 1 1\n")
    assert memory.nearly_full(tmp_path)


def test_gradient_checkpointing_changes_nothing_but_memory(
    tmp_path: Path, llama: Path, sums: DatasetVersion
) -> None:
    losses = []
    for checkpointing in (False, True):
        attempt = Attempt(tmp_path / str(checkpointing))
        attempt.train(
            attempt.job(llama, sums, gradientCheckpointing=checkpointing, loraDropout="0.3", batchSize=6)
        )
        losses.append(attempt.losses())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
