"""How much memory a training may take, what a micro-batch needs, and how running out of it shows."""

import resource
from pathlib import Path
from typing import Any

import torch

_SHARE = 0.7
"""Of the memory that is free, what activations are planned to take: the rest is for what no formula knows."""
_FULL = 0.92
"""Of a control group's limit; beyond it the kernel's answer is SIGKILL."""
_PAGE = resource.getpagesize()


def limit(root: Path = Path("/")) -> int | None:
    """Bytes that this process's control group may hold; None without a limit."""
    for name in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 60:
            return int(text)
    return None


def resident(root: Path = Path("/")) -> int:
    """Bytes of memory that this process holds."""
    return int((root / "proc/self/statm").read_text().split()[1]) * _PAGE


def free(device: torch.device, root: Path = Path("/")) -> int:
    """Bytes that this process may still take."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    lines = (root / "proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    bound = limit(root)
    return available if bound is None else min(available, max(0, bound - resident(root)))


def nearly_full(root: Path = Path("/")) -> bool:
    """Whether the control group is about to be out of memory, which no program is told."""
    bound = limit(root)
    return bound is not None and resident(root) > _FULL * bound


def bytes_per_token(config: Any, width: int, *, checkpointing: bool) -> int:
    """What one token's activations take while they wait for the backward pass.

    A block of width h and inner width f keeps about 16 h + 5 f numbers (inputs of its linear layers, of its
    adapters and of its activations; Korthikanti et al., arXiv:2205.05198, less what a fused attention
    does not keep);
    the head keeps its logits in float32 three times (themselves, their softmax, the gradient).

    Args:
        config: of the model.
        width: bytes of a number.
        checkpointing: whether blocks are computed twice, so that only their inputs and one of them are kept.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    hidden = _first(text, 1024, "hidden_size", "d_model")
    inner = _first(text, 4 * hidden, "intermediate_size", "d_ff")
    layers = _first(text, 12, "num_hidden_layers", "num_layers")
    block = (16 * hidden + 5 * inner) * width
    blocks = layers * hidden * width + block if checkpointing else layers * block
    return blocks + 3 * 4 * int(getattr(text, "vocab_size", 0))


def _first(config: Any, otherwise: int, *names: str) -> int:
    return next((int(value) for name in names if (value := getattr(config, name, None))), otherwise)


def fitting(free_bytes: int, per_token: int, longest: int, wanted: int) -> int:
    """Examples of up to `longest` tokens that are worked on at once: at least one, at most `wanted`."""
    return max(1, min(wanted, int(_SHARE * free_bytes) // (per_token * max(1, longest))))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory could not be had: CUDA's own error, Python's, or that of torch's allocator on a CPU."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "not enough memory" in text or "could not create a memory" in text
    )
