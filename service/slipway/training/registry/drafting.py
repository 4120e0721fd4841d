"""Gathers what a run knows of its artifact into a draft of the record."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from slipway import __version__
from slipway.objects import FineTune
from slipway.sources import SourceError
from slipway.sources.addresses import FileAddress, parse
from slipway.sources.cache import Cache, default_root
from slipway.training.data.versions import DatasetVersion
from slipway.training.errors import DataError, RegistryError
from slipway.training.registry.licences import combined, licence_of, spdx
from slipway.training.registry.records import (
    BaseModelRecord,
    CodeRecord,
    DatasetRecord,
    Draft,
    EnergyRecord,
    EvaluationRecord,
    GateRecord,
    SourceRecord,
)
from slipway.training.stages import Context
from slipway.training.tracking.energy import spent

_PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "tokenizers", "safetensors")
_LANGUAGES = 20
_LARGEST_JSON = 16 << 20


def artifact_of(context: Context) -> Path:
    """Where training left the artifact. Raises RegistryError if that is not below the workspace."""
    root = context.workspace.root.resolve()
    told = context.result("train").get("artifact")
    path = (root / str(told)).resolve()
    if not told or not path.is_relative_to(root) or not path.is_dir():
        raise RegistryError(
            f"Training left no artifact at {told!r} in {root}: run it again with `slipway finetune retry"
            f" {context.run.name} train`.",
            "NoArtifact",
        )
    return path


def draft_of(context: Context, artifact: Path) -> Draft:
    """All that is known of the artifact of a run whose earlier stages are done."""
    fine_tune, trained = context.fine_tune, context.result("train")
    about = _json(artifact / "training.json")
    base = _base(fine_tune, about)
    dataset = _dataset(context)
    licences = [(source.name, source.licence) for source in dataset.sources] if dataset else []
    energy = spent(context.run.folder)
    return Draft(
        name=fine_tune.metadata.name,
        kind=trained.get("kind", "adapter"),
        task=fine_tune.spec.task,
        method=fine_tune.spec.method,
        base_model=base,
        dataset=dataset,
        hyperparameters=trained.get("hyperparameters") or about.get("hyperparameters") or {},
        training=_numbers(trained.get("metrics") or {}),
        evaluation=_evaluation(context),
        code=code(),
        energy=EnergyRecord(**energy.model_dump()),
        licence=combined(base.licence, licences),
        fine_tune=fine_tune.model_dump(mode="json", by_alias=True, exclude_unset=True),
    )


def code() -> CodeRecord:
    """What runs here."""
    packages = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    return CodeRecord(
        slipway=__version__,
        commit=_commit(),
        packages=packages,
        python=platform.python_version(),
        machine=_machine(),
    )


def name_of(source: str) -> str:
    """What a base model is called in cards, where nobody says: `org/name` of hf://org/name@revision."""
    scheme, _, rest = source.partition("://")
    path = rest.partition("@")[0].rstrip("/")
    if scheme == "hf":
        return "/".join(path.split("/")[:2])
    return path.removesuffix(".gguf").rpartition("/")[2] or path


def _base(fine_tune: FineTune, about: dict[str, Any]) -> BaseModelRecord:
    spec = fine_tune.spec.base_model
    told = about.get("base")
    told = told if isinstance(told, dict) else {}
    resolved = str(told.get("source") or "")
    return BaseModelRecord(
        source=spec.source,
        name=spec.name or name_of(spec.source),
        resolved=resolved,
        digest=str(told.get("digest") or ""),
        licence=spdx(spec.licence) or _licence_of_base(resolved or spec.source),
    )


def _licence_of_base(source: str) -> str:
    """What the base model's files say, where they lie on this machine; nothing is fetched for it."""
    with suppress(SourceError):
        address = parse(source)
        if isinstance(address, FileAddress):
            return licence_of(address.path)
        entry = Cache(default_root()).lookup(str(address))
        return licence_of(entry.path) if entry else ""
    return ""


def _dataset(context: Context) -> DatasetRecord | None:
    prepared = context.result("prepare")
    reference = str(prepared.get("dataset") or "")
    if not reference:
        return None
    licences = {source.name: spdx(source.licence) for source in context.fine_tune.spec.dataset.sources}
    try:
        found = DatasetVersion.open(context.workspace, reference)
    except DataError:
        # It may have been taken away since; what was prepared stays true.
        return DatasetRecord(version=reference, records=dict(prepared.get("records") or {}))
    manifest = found.manifest
    return DatasetRecord(
        version=found.reference,
        digest=found.digest,
        records={name: part.rows for name, part in manifest.parts.items()},
        sources=tuple(
            SourceRecord(
                name=source.name,
                source=source.resolved or source.address,
                digest=source.digest,
                licence=licences.get(source.name, ""),
            )
            for source in manifest.sources
        ),
        languages=tuple(_languages(manifest.statistics.get("languages"))),
    )


def _evaluation(context: Context) -> EvaluationRecord:
    found = context.result("evaluate")
    return EvaluationRecord(
        metrics=_numbers(found.get("metrics") or {}),
        intervals={
            name: (low, high)
            for name, (low, high) in (found.get("intervals") or {}).items()
            if None not in _numbers({"low": low, "high": high}).values()
        },
        base=_numbers(found.get("base") or {}),
        gates=tuple(_gate(each) for each in found.get("gates") or ()),
        report=str(found.get("report") or ""),
    )


def _gate(told: dict[str, Any]) -> GateRecord:
    bound = told.get("bound")
    return GateRecord(
        metric=str(told.get("metric")),
        bound="" if bound is None else str(bound),
        value=told.get("value"),
        passed=bool(told.get("passed", True)),
    )


def _numbers(values: dict[str, Any]) -> dict[str, float | None]:
    """Those that are finite numbers; JSON knows no others."""
    numbers: dict[str, float | None] = {}
    for name, value in values.items():
        known = isinstance(value, int | float) and value == value and abs(value) != float("inf")
        numbers[name] = float(value) if known else None
    return numbers


def _languages(told: Any) -> Iterable[str]:
    if isinstance(told, dict):
        told = sorted(told, key=lambda name: -told[name] if isinstance(told[name], int | float) else 0)
    if not isinstance(told, list | tuple):
        return []
    return [str(each) for each in told if 2 <= len(str(each)) <= 3 and str(each) != "und"][:_LANGUAGES]


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.is_symlink() or path.stat().st_size > _LARGEST_JSON:
            return {}
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _commit() -> str:
    """Of the source tree that this runs from, `-dirty` where it was changed; empty where it is installed."""
    tree = Path(__file__).resolve().parents[4]
    if not (tree / ".git").exists():
        return os.environ.get("SLIPWAY_COMMIT", "")
    command = ["git", "-C", str(tree), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    environ = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, env=environ)
        return told.stdout.strip()
    return ""


def _machine() -> str:
    cores = len(os.sched_getaffinity(0))
    parts = [f"{platform.machine()}, {cores} cores"]
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            count = torch.cuda.device_count()
            parts.append(f"{count} x {torch.cuda.get_device_name(0)}")
    return ", ".join(parts)
