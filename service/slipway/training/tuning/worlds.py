"""The processes that train together: one, or those that torchrun began.

Data parallel: each has the whole model and a share of each step's examples; the sums of the gradients are
added up once a step. One process alone needs nothing of this.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """This process among its likes."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and tells progress."""
        return self.rank == 0

    def total(self, tensor: Tensor) -> None:
        """Add up a tensor over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def shared(self, value: T) -> T:
        """What the first process has: decisions that were measured are one for all."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        """End the connection to the others."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def join(device: torch.device, environ: Mapping[str, str] = os.environ) -> World:
    """Find the others by the variables that torchrun sets."""
    size = int(environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(dist.get_rank(), size)
