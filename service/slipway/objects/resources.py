"""What a container asks of its node, after Kubernetes' ResourceRequirements."""

from pydantic import Field

from slipway.objects.meta import Part
from slipway.objects.scalars import Quantity


class Resources(Part):
    """What a container asks of its node: amounts by the name of the resource."""

    requests: dict[str, Quantity] = Field(default_factory=dict)
    """What is set aside for it, such as `cpu: 4` and `memory: 24Gi`."""
    limits: dict[str, Quantity] = Field(default_factory=dict)
    """What it gets at most, such as `memory: 32Gi` and `nvidia.com/gpu: 1`."""
