"""The hyperparameters of a FineTune and the search over them."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from slipway.objects.datasets import Word
from slipway.objects.meta import Part
from slipway.objects.rules import named_by, rules
from slipway.objects.scalars import Duration, Fraction, Number

Value = Annotated[str, StringConstraints(max_length=256)]

_VALUES = "a parameter is given by values, or by min and max; give one of the two"


class Hyperparameters(Part):
    """How training goes."""

    epochs: int = Field(default=3, ge=1, le=1000)
    """Passes over the data."""
    max_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps at most."""
    learning_rate: Number = Number("2e-4")
    """The optimizer's highest learning rate."""
    scheduler: Literal["linear", "cosine", "constant", "inverse_sqrt"] = "cosine"
    """How the learning rate falls after its rise."""
    warmup: Fraction = Fraction("0.03")
    """Share of the steps in which the learning rate rises."""
    batch_size: int = Field(default=8, ge=1, le=65_536)
    """Examples of one optimizer step, over all devices."""
    micro_batch_size: int | None = Field(default=None, ge=1, le=65_536)
    """Examples that are worked on at once; found out if left out, and smaller where memory is short."""
    max_length: int = Field(default=2048, ge=16, le=1_048_576)
    """Tokens of an example at most."""
    packing: bool = True
    """Put short examples into one row, each blind to the others."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the arithmetic; `auto` takes bfloat16 where the device computes in it."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, a third more time."""
    weight_decay: Fraction = Fraction("0")
    """Of AdamW."""
    max_grad_norm: Number = Number("1.0")
    """The gradient is scaled down to this norm."""
    dropout: Fraction | None = None
    """Share of activations that are dropped; the model's own if left out."""
    label_smoothing: Fraction = Fraction("0")
    """Share of each target that is spread over the others."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` makes rare labels of a classification count as much as frequent ones."""
    early_stopping: int | None = Field(default=None, ge=1, le=1000)
    """End after so many evaluations without a better loss on the validation part."""
    evaluations: int = Field(default=1, ge=0, le=1000)
    """Evaluations on the validation part in each epoch."""
    lora_rank: int = Field(default=16, ge=1, le=1024)
    """Rank of the adapter's matrices."""
    lora_alpha: int = Field(default=32, ge=1, le=4096)
    """Scale of the adapter; it counts divided by the rank."""
    lora_dropout: Fraction = Fraction("0.05")
    """Share of the adapter's inputs that are dropped."""
    lora_targets: tuple[Word, ...] = Field(default=(), max_length=64)
    """Layers that get an adapter, by the ends of their names; all linear ones if left out."""
    trained_layers: int = Field(default=2, ge=1, le=1000)
    """With method `frozen`: how many of the last layers are trained."""
    beta: Number = Number("0.1")
    """With preferences: how dear it is to leave the base model."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of everything drawn at random."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """More settings of AdamW: `adam_beta1`, `adam_beta2`, `adam_epsilon`."""


class SearchParameter(Part):
    """One hyperparameter that is searched."""

    model_config = rules(
        ("has(self.values) ? !has(self.min) && !has(self.max) : has(self.min) && has(self.max)", _VALUES)
    )

    name: Word
    """The hyperparameter, such as `learningRate`."""
    values: tuple[Value, ...] = Field(default=(), max_length=256)
    """The values to choose from."""
    min: Number | None = None
    """The smallest value."""
    max: Number | None = None
    """The largest value."""
    scale: Literal["linear", "log"] = "linear"
    """How values between them are drawn."""

    @model_validator(mode="after")
    def _given_once(self) -> Self:
        ends = [end for end in (self.min, self.max) if end is not None]
        if len(ends) != (0 if self.values else 2):
            raise ValueError(_VALUES)
        return self


class Objective(Part):
    """What a search makes best."""

    metric: Word = "eval_loss"
    """The metric, on the validation part."""
    goal: Literal["minimize", "maximize"] = "minimize"
    """Which way is better."""


class SearchSpec(Part):
    """Several trainings with different hyperparameters, of which the best is kept."""

    algorithm: Literal["grid", "random", "bayesian"] = "random"
    """How the next hyperparameters are chosen."""
    pruning: Literal["none", "median", "hyperband"] = "median"
    """Which trials are ended before they are done: none, those worse than the median of the others at the
    same step, or all but the best share of each rung."""
    trials: int = Field(default=8, ge=1, le=1000)
    """Trainings at most."""
    timeout: Duration | None = None
    """No trial begins after this time."""
    parallelism: int = Field(default=1, ge=1, le=100)
    """Trainings at the same time."""
    objective: Objective = Objective()
    """What the best is."""
    parameters: tuple[SearchParameter, ...] = Field(
        min_length=1, max_length=32, json_schema_extra=named_by("name")
    )
    """The hyperparameters that differ."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of the draw."""
