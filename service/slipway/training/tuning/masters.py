"""What is trained, as flat tensors in float32: exact sums of gradients, one kernel for an optimizer's step.

The model computes in its own precision from copies. Adam moves a weight by less than bfloat16 can tell from
nothing, so the masters are float32 whatever the model computes in; so are the sums of the gradients, which
therefore do not depend on how a batch was divided. In float32 the model's parameters are the masters.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(slots=True)
class _Group:
    """Parameters that share a weight decay, one after the other in one tensor."""

    name: str
    parameters: list[nn.Parameter]
    weights: Tensor
    gradients: Tensor
    views: list[tuple[Tensor, Tensor]]
    """Of each parameter, its part of the weights and of the gradients."""


class Masters:
    """The trained parameters of a model and their AdamW."""

    def __init__(
        self,
        model: nn.Module,
        *,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # Scales and biases do not decay (as in Trainer).
        self._groups = [
            _group(name, chosen)
            for name, chosen in (
                ("matrices", [p for p in trained if p.dim() > 1]),
                ("vectors", [p for p in trained if p.dim() <= 1]),
            )
            if chosen
        ]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [group.weights], "weight_decay": weight_decay if group.name == "matrices" else 0.0}
                for group in self._groups
            ],
            lr=0.0,
            betas=betas,
            eps=epsilon,
            fused=True,
        )
        self.zero()

    @property
    def count(self) -> int:
        """Numbers that are trained."""
        return sum(group.weights.numel() for group in self._groups)

    def zero(self) -> None:
        """Forget the gradients."""
        for group in self._groups:
            group.gradients.zero_()
            for parameter, (_, gradient) in zip(group.parameters, group.views, strict=True):
                parameter.grad = gradient if parameter.dtype == torch.float32 else None

    def collect(self) -> None:
        """Add what the last backward pass left to the sums."""
        for group in self._groups:
            for parameter, (_, gradient) in zip(group.parameters, group.views, strict=True):
                if parameter.dtype != torch.float32 and parameter.grad is not None:
                    gradient += parameter.grad
                    parameter.grad = None

    def reduce(self, total: Callable[[Tensor], None]) -> None:
        """Add up the sums of several processes, in place, by `total`."""
        for group in self._groups:
            total(group.gradients)

    def clip(self, longest: float) -> Tensor:
        """Scale the gradient down to a norm of at most `longest`; its norm before."""
        norm = torch.linalg.vector_norm(
            torch.stack([torch.linalg.vector_norm(group.gradients) for group in self._groups])
        )
        factor = torch.clamp(longest / (norm + 1e-6), max=1.0)
        for group in self._groups:
            group.gradients.mul_(factor)
        return norm

    def step(self, learning_rate: float) -> None:
        """One step of AdamW, and the model's copies anew."""
        for settings, group in zip(self._optimizer.param_groups, self._groups, strict=True):
            settings["lr"] = learning_rate
            group.weights.grad = group.gradients
        self._optimizer.step()
        self.publish()

    @torch.no_grad()
    def publish(self) -> None:
        """Write the masters into the model."""
        for group in self._groups:
            for parameter, (weight, _) in zip(group.parameters, group.views, strict=True):
                if parameter.dtype != torch.float32:
                    parameter.copy_(weight)

    def weights(self) -> dict[str, Tensor]:
        """The masters themselves, on the CPU."""
        return {group.name: group.weights.detach().cpu() for group in self._groups}

    @torch.no_grad()
    def put(self, weights: dict[str, Tensor]) -> None:
        """Take these as masters."""
        for group in self._groups:
            group.weights.copy_(weights[group.name])
        self.publish()

    def state(self) -> dict[str, Tensor]:
        """All that a checkpoint needs: masters and AdamW's moments."""
        tensors = {f"weights.{name}": tensor for name, tensor in self.weights().items()}
        for group in self._groups:
            for name, value in self._optimizer.state.get(group.weights, {}).items():
                tensors[f"{name}.{group.name}"] = torch.as_tensor(value).detach().cpu()
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a checkpoint's."""
        self.put({group.name: tensors[f"weights.{group.name}"] for group in self._groups})
        for group in self._groups:
            self._optimizer.state[group.weights] = {
                name: tensors[f"{name}.{group.name}"].to(group.weights.device).clone()
                for name in ("step", "exp_avg", "exp_avg_sq")
            }


@torch.no_grad()
def _group(name: str, parameters: list[nn.Parameter]) -> _Group:
    device = parameters[0].device
    sizes = [parameter.numel() for parameter in parameters]
    weights = torch.empty(sum(sizes), dtype=torch.float32, device=device)
    gradients = torch.zeros_like(weights)
    views: list[tuple[Tensor, Tensor]] = []
    for parameter, part, gradient in zip(
        parameters, weights.split(sizes), gradients.split(sizes), strict=True
    ):
        part = part.view(parameter.shape)
        part.copy_(parameter)
        if parameter.dtype == torch.float32:
            parameter.data = part
        views.append((part, gradient.view(parameter.shape)))
    return _Group(name, parameters, weights, gradients, views)
