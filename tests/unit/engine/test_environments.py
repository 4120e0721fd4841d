"""What the machine is, and the variables that an engine is started with."""

import os
from pathlib import Path

import pytest

from slipway.engine.environments import (
    can_fork,
    engine_environment,
    find_device,
    memory_limit,
    worker_threads,
)
from slipway.engine.options import EngineOptions, OptionsError

ONE = EngineOptions(source="file:///m", name="m")
FOUR = EngineOptions(source="file:///m", name="m", tensor_parallel=4)
GOMP = Path("/torch/lib/libgomp.so.1")


def environment(options: EngineOptions = ONE, device: str = "cpu", **environ: str) -> dict[str, str]:
    return engine_environment(options, device, environ, cpus=8, gomp=GOMP)  # type: ignore[arg-type]


def test_auto_takes_a_gpu_where_its_device_file_is(tmp_path: Path) -> None:
    assert find_device("auto", dev=tmp_path) == "cpu"
    (tmp_path / "nvidia0").touch()
    assert find_device("auto", dev=tmp_path) == "gpu"
    assert find_device("cpu", dev=tmp_path) == "cpu"


def test_a_missing_gpu_is_told_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"shows no GPU\. Use device: cpu"):
        find_device("gpu", dev=tmp_path)


def test_memory_is_what_the_control_group_leaves(tmp_path: Path) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_limit(tmp_path) == machine
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    assert memory_limit(tmp_path) == machine
    (group / "memory.max").write_text("1048576\n")
    assert memory_limit(tmp_path) == 1048576


@pytest.mark.parametrize(("cpus", "threads"), [(1, 1), (2, 1), (8, 7)])
def test_one_core_is_left_to_the_scheduler(cpus: int, threads: int) -> None:
    assert worker_threads(cpus) == threads


def test_one_worker_on_a_cpu_is_forked_with_its_threads_set() -> None:
    made = environment()
    assert made["SLIPWAY_ENGINE_FORK"] == "1"
    assert made["OMP_NUM_THREADS"] == "7"
    assert made["LD_PRELOAD"] == str(GOMP)
    assert "VLLM_TARGET_DEVICE" not in made  # It would keep vLLM from asking for the platform that forks.


def test_several_workers_take_vllms_own_way() -> None:
    made = environment(FOUR)
    assert made["VLLM_TARGET_DEVICE"] == "cpu"
    assert "SLIPWAY_ENGINE_FORK" not in made
    assert "OMP_NUM_THREADS" not in made


@pytest.mark.parametrize(
    "environ", [{"VLLM_CPU_OMP_THREADS_BIND": "0-3"}, {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}]
)
def test_what_the_user_set_about_processes_stops_the_fork(environ: dict[str, str]) -> None:
    assert can_fork(ONE, "cpu", {})
    assert not can_fork(ONE, "cpu", environ)
    assert not can_fork(ONE, "gpu", {})


def test_variables_of_the_user_stay() -> None:
    made = environment(OMP_NUM_THREADS="2", LD_PRELOAD="/opt/libtcmalloc.so")
    assert "OMP_NUM_THREADS" not in made
    assert made["LD_PRELOAD"] == f"/opt/libtcmalloc.so:{GOMP}"
    assert "LD_PRELOAD" not in environment(LD_PRELOAD="/opt/libiomp5.so")


def test_a_gpu_is_left_alone() -> None:
    assert not {"LD_PRELOAD", "OMP_NUM_THREADS", "SLIPWAY_ENGINE_FORK"} & environment(device="gpu").keys()


def test_nothing_is_compiled_on_a_cpu_unless_asked() -> None:
    assert environment()["TORCHDYNAMO_DISABLE"] == "1"
    asked = EngineOptions(source="file:///m", name="m", args=("--no-enforce-eager",))
    assert "TORCHDYNAMO_DISABLE" not in environment(asked)
    assert "TORCHDYNAMO_DISABLE" not in environment(device="gpu")
