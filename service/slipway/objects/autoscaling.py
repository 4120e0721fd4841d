"""How many engines run, decided by what is asked of them."""

from typing import Self

from pydantic import Field, model_validator

from slipway.objects.meta import Part
from slipway.objects.rules import rules
from slipway.objects.scalars import Duration, Factor, Fraction

_ORDER = "minReplicas is larger than maxReplicas; lower minReplicas or raise maxReplicas"
_IDLE = "idleTimeout is the way to zero; set minReplicas to 0, or leave idleTimeout out"
_WINDOWS = "panicWindow is longer than stableWindow; make it the shorter one"


class Autoscaling(Part):
    """How many engines run, decided by the requests in flight and waiting at gateways and engines."""

    model_config = rules(
        ("self.minReplicas <= self.maxReplicas", _ORDER),
        ("!has(self.idleTimeout) || self.minReplicas == 0", _IDLE),
        ("duration(self.panicWindow) <= duration(self.stableWindow)", _WINDOWS),
    )

    min_replicas: int = Field(default=1, ge=0, le=1000)
    """Engines at least. With 0 the model stops when nobody asks; the next request waits for a start."""
    max_replicas: int = Field(default=4, ge=1, le=1000)
    """Engines at most."""
    target: int = Field(default=8, ge=1, le=100_000)
    """Requests in flight and waiting that one engine should have."""
    tolerance: Fraction = Fraction("0.1")
    """Share by which demand may differ from the target without a change."""
    stable_window: Duration = Duration("60s")
    """Demand is averaged over this time."""
    panic_window: Duration = Duration("6s")
    """Over this shorter time too, so that a sudden crowd is seen at once."""
    panic_threshold: Factor = Factor("2")
    """Where the panic window's demand is so many times what is there, engines are only added, for a while."""
    scale_down_delay: Duration = Duration("5m")
    """Engines go when so many were not needed for this long."""
    idle_timeout: Duration | None = None
    """With `minReplicas: 0`: the last engine stops after this long without a request; 10m if left out."""
    max_scale_up_rate: Factor = Factor("10")
    """The engines are multiplied by so much at most in each panic window."""
    max_scale_down_rate: Factor = Factor("2")
    """The engines are divided by so much at most in each panic window."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(_ORDER)
        if self.idle_timeout is not None and self.min_replicas > 0:
            raise ValueError(_IDLE)
        if self.panic_window.seconds > self.stable_window.seconds:
            raise ValueError(_WINDOWS)
        return self

    @property
    def idle_seconds(self) -> int | None:
        """Seconds without a request after which the last engine stops; None: it stays."""
        if self.min_replicas > 0:
            return None
        return 600 if self.idle_timeout is None else self.idle_timeout.seconds
