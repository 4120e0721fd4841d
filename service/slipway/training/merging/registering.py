"""Puts a merged adapter into the registry, with the versions that it was made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway.training.merging.adapters import Adapter
from slipway.training.registry.cards import card
from slipway.training.registry.drafting import code, name_of
from slipway.training.registry.licences import combined, licence_of
from slipway.training.registry.records import BaseModelRecord, Draft, Record
from slipway.training.registry.store import Registry


def register(
    registry: Registry, name: str, adapters: Sequence[Adapter], merged: Path, merge: dict[str, Any]
) -> Record:
    """Make a merged adapter the next version of `name`.

    Args:
        registry: where.
        name: of its versions.
        adapters: what it was made of; those of the registry become its parents.
        merged: the folder with the result.
        merge: what `merge.json` says.

    Raises:
        RegistryError: the name is none, or the result is no artifact.
    """
    first = adapters[0]
    record = first.record
    licences = [(each.name, each.record.licence.id) for each in adapters if each.record is not None]
    base = record.base_model if record else _base(first)
    draft = Draft(
        name=name,
        kind="adapter",
        task=record.task if record else str(first.training.get("task") or "generate"),
        method=f"merge: {merge['method']}",
        base_model=base,
        hyperparameters={key: value for key, value in merge.items() if key not in ("base", "adapters")}
        | {"weights": {each["name"]: each["weight"] for each in merge["adapters"]}},
        code=code(),
        licence=combined(base.licence, licences),
        parents=tuple(each.record.reference for each in adapters if each.record is not None),
    )
    return registry.register(draft, merged, card)


def _base(adapter: Adapter) -> BaseModelRecord:
    folder = Path(adapter.base)
    licence = licence_of(folder) if folder.is_dir() else ""
    return BaseModelRecord(
        source=adapter.base, name=name_of(adapter.base), digest=adapter.base_digest, licence=licence
    )
