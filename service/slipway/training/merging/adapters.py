"""LoRA adapters as they lie in folders or in the registry, and whether they can be merged."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from slipway.training.errors import RegistryError, TuningError
from slipway.training.registry.records import Record, split_reference
from slipway.training.registry.store import Registry

Method = Literal[
    "cat",
    "svd",
    "linear",
    "ties",
    "ties_svd",
    "dare_linear",
    "dare_ties",
    "dare_linear_svd",
    "dare_ties_svd",
]
METHODS: tuple[Method, ...] = get_args(Method)
SAME_RANK: frozenset[Method] = frozenset({"linear", "ties", "dare_linear", "dare_ties"})
"""Methods that add up the factors of the updates instead of the updates."""
_A, _B = ".lora_A.weight", ".lora_B.weight"
_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer that an adapter changes."""

    inputs: int
    outputs: int
    rank: int


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter."""

    name: str
    """As it was asked for, or its reference in the registry."""
    folder: Path
    config: Mapping[str, Any]
    """adapter_config.json."""
    training: Mapping[str, Any]
    """training.json; empty where there is none."""
    layers: Mapping[str, Layer]
    """By their names in the base model."""
    record: Record | None = None
    """What the registry knows of it."""

    @property
    def weights(self) -> Path:
        """Its safetensors."""
        return self.folder / "adapter_model.safetensors"

    @property
    def base(self) -> str:
        """What it is an adapter of, for people."""
        if self.record is not None:
            return self.record.base_model.source
        return str(self._told.get("source") or self.config.get("base_model_name_or_path") or "")

    @property
    def base_digest(self) -> str:
        """Of its base's files; empty where it is not told."""
        return (self.record.base_model.digest if self.record else "") or str(self._told.get("digest") or "")

    @property
    def ranks(self) -> set[int]:
        """Of its layers."""
        return {layer.rank for layer in self.layers.values()}

    @property
    def digest(self) -> str:
        """`sha256:…` of its weights."""
        with self.weights.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

    @property
    def _told(self) -> Mapping[str, Any]:
        base = self.training.get("base")
        return base if isinstance(base, dict) else {}


def opened(registry: Registry, asked: str) -> Adapter:
    """The adapter in a folder, or `NAME/VERSION` or `NAME` (promoted, else newest) of the registry.

    Raises:
        RegistryError: the registry has no such version, or it is damaged.
        TuningError: it is no LoRA adapter, or one that cannot be merged.
    """
    folder = Path(asked).expanduser()
    if (folder / "adapter_config.json").is_file():
        return read(folder.resolve(), asked)
    name, version = split_reference(asked) if "/" in asked else (asked, registry.newest(asked))
    record = registry.record(name, version)
    if record.kind != "adapter":
        raise TuningError(f"{record.reference} is a whole model and no adapter.", "NoAdapter")
    if faults := registry.verify(name, version):
        raise RegistryError(f"{record.reference} is damaged: {faults[0]}", "WrongDigest")
    return read(registry.folder(name, version), record.reference, record)


def read(folder: Path, name: str, record: Record | None = None) -> Adapter:
    """The adapter in a folder. Raises TuningError if it is none that can be merged."""
    try:
        config = json.loads((folder / "adapter_config.json").read_bytes())
        training = folder / "training.json"
        told = json.loads(training.read_bytes()) if training.exists() else {}
    except ValueError as error:
        raise TuningError(f"{name} has a file that is no JSON: {error}.", "BadAdapter") from None
    if config.get("peft_type") != "LORA":
        raise TuningError(
            f"{name} is an adapter of type {config.get('peft_type')}; LoRA is merged.", "NoLoRA"
        )
    if config.get("use_dora"):
        raise TuningError(
            f"{name} is a DoRA adapter, whose magnitudes do not add up; let the adapters vote instead.",
            "DoRA",
        )
    return Adapter(name, folder, config, told, _layers(folder, name), record)


def check(adapters: Sequence[Adapter], method: Method) -> None:
    """Refuse what cannot be merged. Raises TuningError with the mend."""
    first = adapters[0]
    for other in adapters[1:]:
        told = first.base_digest and other.base_digest
        differ = first.base_digest != other.base_digest if told else first.base != other.base
        if differ:
            raise TuningError(
                f"{first.name} is an adapter of {first.base}, {other.name} of {other.base}; only adapters of"
                " one base can be merged.",
                "OtherBase",
            )
        for layer in first.layers.keys() & other.layers.keys():
            one, two = first.layers[layer], other.layers[layer]
            if (one.inputs, one.outputs) != (two.inputs, two.outputs):
                raise TuningError(
                    f"{layer} is {one.inputs} x {one.outputs} in {first.name} and {two.inputs} x"
                    f" {two.outputs} in {other.name}; they are adapters of different models.",
                    "OtherBase",
                )
    ranks = set().union(*(adapter.ranks for adapter in adapters))
    if method in SAME_RANK and len(ranks) > 1:
        listed = ", ".join(f"{each.name} has {', '.join(map(str, sorted(each.ranks)))}" for each in adapters)
        raise TuningError(
            f"Method {method} needs the same rank everywhere ({listed}); take svd, cat or ties_svd.",
            "OtherRank",
        )


def _layers(folder: Path, name: str) -> dict[str, Layer]:
    from safetensors import safe_open

    path = folder / "adapter_model.safetensors"
    if not path.exists():
        raise TuningError(f"{name} has no adapter_model.safetensors.", "BadAdapter")
    with safe_open(path, "pt") as file:
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    others = sorted(key for key in shapes if not key.endswith((_A, _B)))
    if others:
        raise TuningError(
            f"{name} holds {others[0]}: a trained head or embedding, which cannot be merged; let the adapters"
            " vote instead.",
            "TrainedHead",
        )
    layers = {}
    for key, (rank, inputs) in ((key, shape) for key, shape in shapes.items() if key.endswith(_A)):
        module = key.removeprefix(_PREFIX).removesuffix(_A)
        layers[module] = Layer(inputs, shapes[f"{_PREFIX}{module}{_B}"][0], rank)
    return layers
