"""The machine an engine runs on, and the environment variables that vLLM's processes need there."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from slipway.engine.guard import DRAIN_SECONDS
from slipway.engine.options import Device, EngineOptions, OptionsError, compiles


def find_device(wanted: str, *, dev: Path = Path("/dev")) -> Device:
    """The device to run on: `auto` takes a GPU where its device file exists.

    Raises:
        OptionsError: a GPU is wanted and there is none.
    """
    found = any((dev / name).exists() for name in ("nvidia0", "nvidiactl", "kfd"))
    if wanted == "gpu" and not found:
        raise OptionsError(
            "device: gpu was asked for, and this machine shows no GPU. Use device: cpu (or auto), or run it "
            "on a node with a GPU and its driver (in a pod: ask for the resource nvidia.com/gpu)."
        )
    if wanted == "cpu":
        return "cpu"
    return "gpu" if found else "cpu"


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes of memory this process may use: the machine's, or its control group's where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def worker_threads(cpus: int) -> int:
    """Threads for the arithmetic: one core stays free for the scheduler, which polls while it is busy."""
    return max(1, cpus - 1)


def can_fork(options: EngineOptions, device: Device, environ: Mapping[str, str]) -> bool:
    """Whether vLLM's processes may be forked from one that has everything imported.

    A forked worker cannot be bound to cores of its own by OpenMP's variables, which are read when the
    library is loaded: several workers, or a binding asked for by hand, take vLLM's own way (spawn).
    """
    several = options.tensor_parallel * options.pipeline_parallel > 1
    bound = environ.get("VLLM_CPU_OMP_THREADS_BIND", "nobind") != "nobind"
    return device == "cpu" and not several and not bound and "VLLM_WORKER_MULTIPROC_METHOD" not in environ


def gomp_library() -> Path | None:
    """The OpenMP library that comes with torch; found without importing torch, which takes seconds."""
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None
    torch = Path(next(iter(spec.submodule_search_locations)))
    found = [*torch.parent.glob("torch.libs/libgomp*.so*"), *torch.glob("lib/libgomp*.so*")]
    return found[0] if found else None


def engine_environment(
    options: EngineOptions, device: Device, environ: Mapping[str, str], *, cpus: int, gomp: Path | None
) -> dict[str, str]:
    """What must be set before the interpreter starts, as variables to add to `environ`.

    What the user set stays as it is. Setting these means starting the interpreter anew: the dynamic
    linker reads LD_PRELOAD and OpenMP its variables at the start of a process only.
    """
    wanted = {
        DRAIN_SECONDS: str(options.drain_timeout),
        "VLLM_CONFIGURE_LOGGING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    if device == "cpu":
        if not compiles(options.args):
            # vLLM compiles parts of its sampler on first use, eager or not: 13 s for the first request that
            # asks for log probabilities, and an error where there is no compiler.
            wanted["TORCHDYNAMO_DISABLE"] = "1"
        if can_fork(options, device, environ):
            wanted |= {
                "SLIPWAY_ENGINE_FORK": "1",
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                "OMP_NUM_THREADS": str(worker_threads(cpus)),
            }
        else:
            wanted["VLLM_TARGET_DEVICE"] = "cpu"
        if gomp is not None and "omp" not in environ.get("LD_PRELOAD", ""):
            wanted["LD_PRELOAD"] = ":".join(filter(None, [environ.get("LD_PRELOAD"), str(gomp)]))
    return {name: value for name, value in wanted.items() if name == "LD_PRELOAD" or name not in environ}
