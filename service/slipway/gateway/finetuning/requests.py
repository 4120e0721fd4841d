"""The body of POST /v1/fine_tuning/jobs, and what its `auto` values mean."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from slipway.gateway.finetuning.examples import Method
from slipway.objects.hyperparameters import Hyperparameters

Word = Annotated[str, StringConstraints(max_length=512)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=64)]
FileID = Annotated[str, StringConstraints(max_length=64)]
Auto = Literal["auto"]

_DEFAULTS = Hyperparameters()
_GENTLE = 0.1
"""Preferences are learned with a tenth of the learning rate: they correct what is there."""


class Supervised(BaseModel):
    """Hyperparameters of the method `supervised`."""

    model_config = ConfigDict(extra="forbid")

    batch_size: Auto | Annotated[int, Field(ge=1, le=65_536)] | None = None
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, le=1000)] | None = None
    n_epochs: Auto | Annotated[int, Field(ge=1, le=1000)] | None = None


class Preference(Supervised):
    """Hyperparameters of the method `dpo`."""

    beta: Auto | Annotated[float, Field(gt=0, le=2)] | None = None


class SupervisedMethod(BaseModel):
    """The method `supervised`."""

    model_config = ConfigDict(extra="forbid")

    hyperparameters: Supervised | None = None


class PreferenceMethod(BaseModel):
    """The method `dpo`."""

    model_config = ConfigDict(extra="forbid")

    hyperparameters: Preference | None = None


class MethodChoice(BaseModel):
    """How it is learned."""

    model_config = ConfigDict(extra="forbid")

    type: Method
    supervised: SupervisedMethod | None = None
    dpo: PreferenceMethod | None = None


class FineTuningJobRequest(BaseModel):
    """The body of POST /v1/fine_tuning/jobs."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, max_length=253)
    training_file: FileID
    validation_file: FileID | None = None
    method: MethodChoice | None = None
    hyperparameters: Supervised | None = None
    suffix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: Annotated[dict[Label, Word], Field(max_length=16)] | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = None


def resolved(asked: FineTuningJobRequest) -> dict[str, Any]:
    """The method as the job shows it, with what `auto` stands for."""
    choice = asked.method or MethodChoice(type="supervised")
    own = choice.dpo if choice.type == "dpo" else choice.supervised
    given = (own.hyperparameters if own is not None else None) or asked.hyperparameters or Supervised()
    values = {
        "n_epochs": _of(given.n_epochs, _DEFAULTS.epochs),
        "batch_size": _of(given.batch_size, _DEFAULTS.batch_size),
        "learning_rate_multiplier": _of(given.learning_rate_multiplier, 1.0),
    }
    if choice.type == "dpo":
        values["beta"] = _of(getattr(given, "beta", None), _DEFAULTS.beta.number)
    return {"type": choice.type, choice.type: {"hyperparameters": values}}


def _of(given: Any, default: Any) -> Any:
    return default if given in (None, "auto") else given


def learning_rate(method: Method, multiplier: float) -> float:
    """The optimizer's learning rate."""
    return _DEFAULTS.learning_rate.number * (_GENTLE if method == "dpo" else 1.0) * multiplier
