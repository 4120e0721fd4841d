"""Services in trouble, as a real cluster had them: what is around each, in `cases/`."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from slipway.cli.cluster.findings import Case

FOLDER = Path(__file__).parent / "cases"


def case(name: str, **changes: Any) -> Case:
    """The case of this name; `changes` replaces fields."""
    document = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return replace(Case(**{each.name: document[each.name] for each in fields(Case)}), **changes)


def changed(service: Any, **parts: Any) -> dict[str, Any]:
    """A copy of an object with fields of its metadata, spec or status replaced: `status={"ready": 0}`."""
    copy: dict[str, Any] = json.loads(json.dumps(service))
    for part, values in parts.items():
        copy.setdefault(part, {}).update(values)
    return copy
