"""Whether an object in the cluster already says what a manifest asks for.

What the manifest does not mention is left alone: defaults of the API server, fields that others own. Lists of
named things may hold more than was asked for, such as a container that a webhook has put in.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from slipway_operator.names import DIGEST, digest

_NAMES = ("name", "mountPath", "containerPort", "uid", "port")


def stamped(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its digest on it, by which fields are missed that it once had."""
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), DIGEST: digest(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def matches(manifest: Any, observed: Any) -> bool:
    """Whether everything in `manifest` is in `observed`."""
    if isinstance(manifest, Mapping):
        if not isinstance(observed, Mapping):
            return not manifest and observed is None
        return all(matches(value, observed.get(name)) for name, value in manifest.items())
    if isinstance(manifest, Sequence) and not isinstance(manifest, str):
        return _lists_match(manifest, observed)
    if manifest == observed:
        return True
    # The API server leaves out what is empty, zero or false.
    return observed is None and manifest in (0, False, "")


def _lists_match(manifest: Sequence[Any], observed: Any) -> bool:
    if not manifest:
        return not observed
    if not isinstance(observed, Sequence) or isinstance(observed, str):
        return False
    name = next((key for key in _NAMES if all(isinstance(i, Mapping) and key in i for i in manifest)), None)
    if name is None:
        return len(manifest) == len(observed) and all(
            matches(one, other) for one, other in zip(manifest, observed, strict=True)
        )
    held = {item.get(name): item for item in observed if isinstance(item, Mapping)}
    return all(item[name] in held and matches(item, held[item[name]]) for item in manifest)
