"""ModelRoute: a virtual model, a name that leads to other models by weight, with others behind them."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from slipway.objects.llmservices import ServedName
from slipway.objects.meta import Part, Resource
from slipway.objects.rules import rules
from slipway.objects.scalars import Duration

MOST_MEMBERS = 8
_ALL_ZERO = "every target has weight 0; give at least one of them a share"
_SCORER = "a scorer goes with the strategy best, which needs one; change one of the two"
_MEMBERS = f"an ensemble asks 2 to {MOST_MEMBERS} models; give it as many targets with a weight"
_NO_FALLBACKS = "an ensemble has no fallbacks: its members stand in for each other; leave them out"
_QUORUM = "the quorum is larger than the ensemble; write at most the number of its targets"


class Target(Part):
    """One model that the route leads to."""

    model: ServedName
    """A served name."""
    weight: int = Field(default=1, ge=0, le=1000)
    """Its share of the requests among all targets."""


class Ensemble(Part):
    """All targets are asked at once, and one answer is made of theirs."""

    model_config = rules(("(self.strategy == 'best') == has(self.scorer)", _SCORER))

    strategy: Literal["vote", "average", "best"]
    """vote takes the answer that most members give (a label, a text, JSON); average the mean of their scores;
    best the answer that the scorer likes most. Targets' weights count in the first two."""
    scorer: ServedName | None = None
    """With `best`: a model of the task score or embed, which says how well an answer fits the question."""
    quorum: int | None = Field(default=None, ge=1, le=MOST_MEMBERS)
    """Members whose answers are enough where others fail or are late; more than half if left out."""
    patience: Duration = Duration("60s")
    """After this time the answer is made of those there are, once they are a quorum."""

    @model_validator(mode="after")
    def _scored(self) -> Self:
        if (self.strategy == "best") != (self.scorer is not None):
            raise ValueError(_SCORER)
        return self


class ModelRouteSpec(Part):
    """Where requests for the virtual model go. One target makes an alias, several a weighted split."""

    model_config = rules(
        ("self.targets.exists(t, t.weight > 0)", _ALL_ZERO),
        (
            "self.targets.all(t, self.targets.exists_one(u, u.model == t.model))",
            "two targets are one model; give it one weight",
        ),
        (
            "!has(self.ensemble) || (self.targets.filter(t, t.weight > 0).size() >= 2"
            f" && self.targets.size() <= {MOST_MEMBERS})",
            _MEMBERS,
        ),
        ("!has(self.ensemble) || !has(self.fallbacks) || self.fallbacks.size() == 0", _NO_FALLBACKS),
        (
            "!has(self.ensemble) || !has(self.ensemble.quorum)"
            " || self.ensemble.quorum <= self.targets.size()",
            _QUORUM,
        ),
    )

    name: ServedName | None = None
    """What clients put into `model`; the object's own name if left out."""
    targets: tuple[Target, ...] = Field(min_length=1, max_length=32)
    """Models that share the requests."""
    fallbacks: tuple[ServedName, ...] = Field(default=(), max_length=8)
    """Models tried in order when the chosen one cannot answer: no ready endpoint, full, or failed before
    the first byte."""
    ensemble: Ensemble | None = None
    """Ask all targets and make one answer of theirs, instead of asking one of them."""

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

    @model_validator(mode="after")
    def _an_ensemble_has_members(self) -> Self:
        if self.ensemble is None:
            return self
        if len(self.members) < 2 or len(self.targets) > MOST_MEMBERS:
            raise ValueError(_MEMBERS)
        if self.fallbacks:
            raise ValueError(_NO_FALLBACKS)
        if self.ensemble.quorum is not None and self.ensemble.quorum > len(self.targets):
            raise ValueError(_QUORUM)
        return self

    @property
    def members(self) -> tuple[Target, ...]:
        """The targets that have a share."""
        return tuple(target for target in self.targets if target.weight)


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
