"""How a changed model takes the place of the old one."""

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from slipway.objects.meta import Part
from slipway.objects.rules import rules
from slipway.objects.scalars import Duration, Factor, Fraction, Pause

_RISING = "the weights of the steps must rise; put the steps in order and give each a weight of its own"
_NEEDED = "Canary needs steps; add some, such as `steps: [{weight: 10, pause: 5m}, {weight: 50, pause: 5m}]`"
_IDLE_STEPS = "steps belong to a canary; set strategy to Canary, or leave steps out"


class Step(Part):
    """One stage of a canary."""

    weight: int = Field(ge=0, le=100)
    """Percent of the requests that the new revision gets."""
    pause: Pause | None = None
    """How long the step lasts: a duration, or `manual` until `slipway rollout promote`. Left out, as long as
    the analysis needs to see enough requests."""


class Analysis(Part):
    """When a new revision is taken back: it is compared with the old one under the same traffic. With a
    RollingUpdate the last old replica stays until one comparison was good."""

    interval: Duration = Duration("10s")
    """Time between two comparisons."""
    min_requests: int = Field(default=20, ge=1, le=1_000_000)
    """Requests that the new revision must have had before it is judged."""
    max_error_rate: Fraction = Fraction("0.05")
    """Share of its requests that may fail beyond the old revision's share."""
    max_latency_factor: Factor = Factor("1.5")
    """Times the old revision's time to the first byte (its 90th percentile) that the new one's may take."""
    failure_limit: int = Field(default=2, ge=1, le=100)
    """Comparisons that must fail in a row."""


class RolloutSpec(Part):
    """How a changed model takes the place of the old one."""

    model_config = rules(
        ("self.strategy != 'Canary' || (has(self.steps) && size(self.steps) > 0)", _NEEDED),
        ("self.strategy == 'Canary' || !has(self.steps) || size(self.steps) == 0", _IDLE_STEPS),
        (
            "!has(self.steps) || (self.steps.map(s, s.weight).isSorted()"
            " && self.steps.all(s, self.steps.exists_one(t, t.weight == s.weight)))",
            _RISING,
        ),
    )

    strategy: Literal["RollingUpdate", "Recreate", "BlueGreen", "Canary"] = "RollingUpdate"
    """RollingUpdate starts the new replicas before the old ones stop; Recreate needs no room for both.
    BlueGreen gives all requests to the new ones at once when all are ready; Canary gives them more by steps.
    Local runs take both for RollingUpdate."""
    steps: tuple[Step, ...] = Field(default=(), max_length=20)
    """The stages of a canary; after the last one the new revision gets everything."""
    analysis: Analysis = Analysis()
    """When a new revision is taken back for its errors or its latency; not with Recreate."""
    progress_deadline: Duration = Duration("15m")
    """A new revision that makes no progress for this long is taken back."""
    revision_history_limit: int = Field(default=5, ge=0, le=50)
    """Old revisions kept in `status.history`, to which `slipway rollout undo` can return."""
    max_surge: int = Field(default=1, ge=1, le=1000)
    """Replicas beyond those wanted that a RollingUpdate may run meanwhile."""
    paused: bool = False
    """Start no rollout, and stop where one is."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.strategy == "Canary" and not self.steps:
            raise ValueError(_NEEDED)
        if self.strategy != "Canary" and self.steps:
            raise ValueError(_IDLE_STEPS)
        if any(former.weight >= latter.weight for former, latter in pairwise(self.steps)):
            raise ValueError(_RISING)
        return self

    @property
    def between_processes(self) -> Literal["RollingUpdate", "Recreate"]:
        """The strategy of a local run, which has no traffic by revision to steer."""
        return "Recreate" if self.strategy == "Recreate" else "RollingUpdate"
