"""What a stage's process reads: the FineTune as a file, and the claims that its sources lie in."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from slipway.objects import API_VERSION
from slipway_operator import names

CLAIMS = "/mnt/claims"
"""Where the claims of `pvc://` sources are mounted, each by its name."""
_OPERATORS = ("suspend", "cancel", "image", "resources", "storage", "podTemplate", "deadline")
"""Fields of a spec that stages know nothing of: a change of one begins nothing anew."""


def document(parent: Mapping[str, Any]) -> str:
    """finetune.yaml, as JSON; `pvc://` sources are the folders where their claims are mounted."""
    metadata = parent["metadata"]
    spec = {name: value for name, value in parent["spec"].items() if name not in _OPERATORS}
    return json.dumps(
        {
            "apiVersion": API_VERSION,
            "kind": "FineTune",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            "spec": _mounted(spec),
        },
        indent=1,
        sort_keys=True,
    )


def claims(spec: Mapping[str, Any]) -> list[str]:
    """The claims of its `pvc://` sources."""
    return sorted({source.removeprefix("pvc://").partition("/")[0] for source in _sources(spec)})


def digest(text: str) -> str:
    """Eight hex digits."""
    return names.digest({"text": text})[:8]


def _sources(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            if name == "source" and isinstance(each, str):
                if each.startswith("pvc://"):
                    yield each
            else:
                yield from _sources(each)
    elif isinstance(value, list):
        for each in value:
            yield from _sources(each)


def _mounted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: f"file://{CLAIMS}/{each.removeprefix('pvc://')}".rstrip("/")
            if name == "source" and isinstance(each, str) and each.startswith("pvc://")
            else _mounted(each)
            for name, each in value.items()
        }
    return [_mounted(each) for each in value] if isinstance(value, list) else value
