"""A user's podTemplate over the operator's own, merged as `kubectl patch --type strategic` would.

Mappings are merged key by key and None removes; lists of things that have an identity (containers by name,
mounts by path, ports by number) are merged by it; all other lists are replaced.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_IDENTITY = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
"""List -> the field that tells its items apart (patchMergeKey of Kubernetes' API)."""


def merge(base: Any, over: Any, field: str = "") -> Any:
    """`base` with `over` on it; neither is changed. `field` is the name that holds them."""
    if isinstance(over, Mapping):
        merged = dict(base) if isinstance(base, Mapping) and over.get("$patch") != "replace" else {}
        for name, value in over.items():
            if value is None:
                merged.pop(name, None)
            elif name != "$patch":
                merged[name] = merge(merged.get(name), value, name)
        return merged
    identity = _IDENTITY.get(field)
    if identity and _is_list(over):
        return _by_identity(base if _is_list(base) else (), over, identity)
    return over


def _by_identity(base: Sequence[Any], over: Sequence[Any], identity: str) -> list[Any]:
    replaces = {"$patch": "replace"}
    merged = [] if replaces in over else list(base)
    for item in over:
        if item == replaces:
            continue
        place = next((at for at, each in enumerate(merged) if _same(each, item, identity)), None)
        deletes = isinstance(item, Mapping) and item.get("$patch") == "delete"
        if place is None:
            if not deletes:
                merged.append(merge(None, item))
        elif deletes:
            del merged[place]
        else:
            merged[place] = merge(merged[place], item)
    return merged


def _same(one: Any, other: Any, identity: str) -> bool:
    return (
        isinstance(one, Mapping)
        and isinstance(other, Mapping)
        and identity in one
        and one[identity] == other.get(identity)
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
