"""What the operator knows of the cluster: the newest version of each object that it has seen.

Informers fill it, and so do the answers to the operator's own writes, so that a decision never rests on a
state older than its last one.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Any

from slipway.kube.informers import key_of
from slipway.kube.kinds import FINE_TUNE, LLM_SERVICE, Kind
from slipway_operator import names

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name; "" for the namespace of what has none."""

_REMEMBERED = 1024
"""Deleted objects whose late news are told from new ones."""


Owner = tuple[Kind, Key]
"""An object that has children."""

_OWNERS = {kind.kind: kind for kind in (LLM_SERVICE, FINE_TUNE)}
_LABELS = (
    (names.SERVICE, LLM_SERVICE),
    (names.WORKER_OF, LLM_SERVICE),
    (names.FETCH_OF, LLM_SERVICE),
    (names.FINE_TUNE, FINE_TUNE),
)


def owner_of(item: Object) -> Owner | None:
    """Whose child it is, by its owner reference or, for pods, by its label."""
    metadata = item["metadata"]
    namespace = metadata.get("namespace", "")
    for owner in metadata.get("ownerReferences", ()):
        if owner.get("kind") in _OWNERS and owner.get("controller"):
            return _OWNERS[owner["kind"]], (namespace, owner["name"])
    labels = metadata.get("labels", {})
    for label, kind in _LABELS:
        if label in labels:
            return kind, (namespace, labels[label])
    return None


def version(item: Object) -> int:
    """Its resourceVersion. Those of one kind can be compared (Kubernetes' API concepts, since 1.35)."""
    text = item["metadata"].get("resourceVersion", "0")
    return int(text) if text.isdecimal() else 0


@dataclass(slots=True)
class World:
    """Objects by kind, and by the LLMService or FineTune they belong to."""

    _items: dict[Kind, dict[Key, Object]] = field(default_factory=dict)
    _of: dict[Owner, dict[tuple[Kind, Key], None]] = field(default_factory=dict)
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
        owner = owner_of(item)
        if owner is not None:
            self._of.setdefault(owner, {})[kind, key] = None
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

    def missing(self, kind: Kind, listed: Set[Key], at: str) -> list[Object]:
        """What is known of a kind, was there before the version `at`, and was not listed at it.

        Of an object made and deleted while no watch was open there is no news: only our own write told of it.
        """
        items = self._items.get(kind, {})
        newest = int(at) if at.isdecimal() else 0
        return [item for key, item in items.items() if key not in listed and version(item) <= newest]

    def _unlink(self, kind: Kind, key: Key, item: Object) -> None:
        owner = owner_of(item)
        if owner is not None and owner in self._of:
            self._of[owner].pop((kind, key), None)
            if not self._of[owner]:
                del self._of[owner]

    def get(self, kind: Kind, key: Key) -> Object | None:
        """The newest version, or None."""
        return self._items.get(kind, {}).get(key)

    def all(self, kind: Kind) -> Iterator[Object]:
        """All of one kind."""
        yield from self._items.get(kind, {}).values()

    def children(self, kind: Kind, key: Key) -> dict[tuple[Kind, str], Object]:
        """What belongs to an object, by kind and name."""
        return {
            (each, name): self._items[each][ns, name] for each, (ns, name) in self._of.get((kind, key), {})
        }


__all__ = ["Key", "Object", "Owner", "World", "key_of", "owner_of", "version"]
