"""The device that computes, and the number format that it computes fastest in."""

import time
from typing import Literal

import torch
from torch import Tensor

_ROWS, _COLUMNS, _REPEATS = 256, 1024, 4
_WORTH = 1.1
"""bfloat16 loses digits; it is taken where it is at least so much faster."""

Precision = Literal["float32", "bfloat16"]


def find_device() -> torch.device:
    """The GPU where there is one. Under torchrun each process of a machine has its own."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    import os

    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def choose_precision(asked: str, device: torch.device) -> Precision:
    """`asked`, or for `auto` what this machine multiplies matrices faster in.

    Flags of a processor say what it knows, not what its library does with it; a measurement of some
    milliseconds says both.
    """
    if asked != "auto":
        return "bfloat16" if asked == "bfloat16" else "float32"
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    slow, fast = _seconds(torch.float32), _seconds(torch.bfloat16)
    return "bfloat16" if fast * _WORTH < slow else "float32"


def _seconds(dtype: torch.dtype) -> float:
    left: Tensor = torch.ones(_ROWS, _COLUMNS, dtype=dtype)
    right: Tensor = torch.ones(_COLUMNS, _COLUMNS, dtype=dtype)
    torch.mm(left, right)
    best = float("inf")
    for _ in range(_REPEATS):
        began = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - began)
    return best


def dtype_of(precision: Precision) -> torch.dtype:
    """Torch's name of it."""
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
