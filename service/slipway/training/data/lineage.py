"""What a version depends on: code, libraries, and the digest of all that was asked."""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from slipway import __version__
from slipway.objects.datasets import DatasetSpec, PreparationStep
from slipway.training.data.sources import Found

_LIBRARIES = ("ftfy", "presidio-analyzer", "py3langid", "pyarrow", "rensa", "selectolax")


@cache
def code() -> dict[str, str]:
    """Version of Slipway, digest of the code that prepares data, versions of the libraries it uses."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for path in sorted([*folder.glob("data/**/*.py"), *folder.glob("augmentation/*.py")]):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"slipway": __version__, "digest": f"sha256:{digest.hexdigest()}", **libraries}


def inputs(spec: DatasetSpec, found: Sequence[Found], steps: Sequence[PreparationStep]) -> str:
    """Digest of all that a version depends on: the same again makes the same version."""
    document: dict[str, Any] = {
        "sources": sorted(
            (
                each.source.model_dump(mode="json", include={"name", "weight", "part", "fields"})
                | {"format": each.format, "digest": each.digest}
                for each in found
            ),
            key=lambda each: str(each["name"]),
        ),
        "preparation": [step.model_dump(mode="json") for step in steps],
        **spec.model_dump(mode="json", include={"format", "augmentation", "split", "max_broken"}),
        "code": code(),
    }
    return f"sha256:{hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()}"
