"""ModelRoute: a virtual model, a name that leads to other models by weight, with others behind them."""

from typing import Literal

from pydantic import Field, field_validator

from slipway.objects.llmservices import ServedName
from slipway.objects.meta import Part, Resource
from slipway.objects.rules import rules

_ALL_ZERO = "every target has weight 0; give at least one of them a share"


class Target(Part):
    """One model that the route leads to."""

    model: ServedName
    """A served name."""
    weight: int = Field(default=1, ge=0, le=1000)
    """Its share of the requests among all targets."""


class ModelRouteSpec(Part):
    """Where requests for the virtual model go. One target makes an alias, several a weighted split."""

    model_config = rules(
        ("self.targets.exists(t, t.weight > 0)", _ALL_ZERO),
        (
            "self.targets.all(t, self.targets.exists_one(u, u.model == t.model))",
            "two targets are one model; give it one weight",
        ),
    )

    name: ServedName | None = None
    """What clients put into `model`; the object's own name if left out."""
    targets: tuple[Target, ...] = Field(min_length=1, max_length=32)
    """Models that share the requests."""
    fallbacks: tuple[ServedName, ...] = Field(default=(), max_length=8)
    """Models tried in order when the chosen one cannot answer: no ready endpoint, full, or failed before
    the first byte."""

    @field_validator("targets")
    @classmethod
    def _something_to_lead_to(cls, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        if not any(target.weight for target in targets):
            raise ValueError(_ALL_ZERO)
        names = [target.model for target in targets]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two targets are {name!r}; give it one weight")
        return targets


class ModelRoute(Resource):
    """A virtual model."""

    kind: Literal["ModelRoute"] = "ModelRoute"
    """ModelRoute."""
    spec: ModelRouteSpec
    """Where its requests go."""

    @property
    def served_name(self) -> str:
        """What clients put into `model`."""
        return self.spec.name or self.metadata.name
