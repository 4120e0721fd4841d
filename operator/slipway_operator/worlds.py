"""What the operator knows of the cluster: the newest version of each object that it has seen.

Informers fill it, and so do the answers to the operator's own writes, so that a decision never rests on a
state older than its last one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from slipway.kube.informers import key_of
from slipway.kube.kinds import Kind
from slipway_operator import names

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name; "" for the namespace of what has none."""

_REMEMBERED = 1024
"""Deleted objects whose late news are told from new ones."""


def service_of(item: Object) -> Key | None:
    """The LLMService that a child belongs to, by its owner reference or, for pods, by its label."""
    metadata = item["metadata"]
    for owner in metadata.get("ownerReferences", ()):
        if owner.get("kind") == "LLMService" and owner.get("controller"):
            return metadata.get("namespace", ""), owner["name"]
    labels = metadata.get("labels", {})
    for label in (names.SERVICE, names.WORKER_OF, names.FETCH_OF):
        if label in labels:
            return metadata.get("namespace", ""), labels[label]
    return None


def version(item: Object) -> int:
    """Its resourceVersion. Those of one kind can be compared (Kubernetes' API concepts, since 1.35)."""
    text = item["metadata"].get("resourceVersion", "0")
    return int(text) if text.isdecimal() else 0


@dataclass(slots=True)
class World:
    """Objects by kind, and by the LLMService they belong to."""

    _items: dict[Kind, dict[Key, Object]] = field(default_factory=dict)
    _of: dict[Key, dict[tuple[Kind, Key], None]] = field(default_factory=dict)
    _gone: dict[str, int] = field(default_factory=dict)
    """uid -> version of what was deleted last: the answer to a write may come after the deletion."""

    def put(self, kind: Kind, item: Object) -> bool:
        """Remember `item`; False if something at least as new is known."""
        items, key = self._items.setdefault(kind, {}), key_of(item)
        known = items.get(key)
        if self._gone.get(item["metadata"].get("uid", ""), -1) > version(item):
            return False
        if known is not None:
            if version(known) >= version(item):
                return False
            self._unlink(kind, key, known)
        item["metadata"].pop("managedFields", None)  # A third of every object, and never read.
        items[key] = item
        service = service_of(item)
        if service is not None:
            self._of.setdefault(service, {})[kind, key] = None
        return True

    def remove(self, kind: Kind, item: Object) -> None:
        """`item` is gone, unless another of its name has come since."""
        items, key = self._items.setdefault(kind, {}), key_of(item)
        known, uid = items.get(key), item["metadata"].get("uid", "")
        self._gone.pop(uid, None)
        self._gone[uid] = version(item)
        if len(self._gone) > _REMEMBERED:
            del self._gone[next(iter(self._gone))]
        if known is not None and known["metadata"].get("uid") == uid:
            del items[key]
            self._unlink(kind, key, known)

    def _unlink(self, kind: Kind, key: Key, item: Object) -> None:
        service = service_of(item)
        if service is not None and service in self._of:
            self._of[service].pop((kind, key), None)
            if not self._of[service]:
                del self._of[service]

    def get(self, kind: Kind, key: Key) -> Object | None:
        """The newest version, or None."""
        return self._items.get(kind, {}).get(key)

    def all(self, kind: Kind) -> Iterator[Object]:
        """All of one kind."""
        yield from self._items.get(kind, {}).values()

    def children(self, service: Key) -> dict[tuple[Kind, str], Object]:
        """What belongs to an LLMService, by kind and name."""
        return {(kind, key[1]): self._items[kind][key] for kind, key in self._of.get(service, {})}


__all__ = ["Key", "Object", "World", "key_of", "service_of", "version"]
