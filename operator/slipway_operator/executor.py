"""Carries a plan out: server-side apply of what differs, deletion of what is in the way. Decides nothing."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.kube.client import Client
from slipway.kube.errors import ConflictError, NotFoundError
from slipway.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    LEADER_WORKER_SET,
    NETWORK_POLICY,
    PDB,
    POD_MONITOR,
    PVC,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    TRAIN_JOB,
    TRAINING_RUNTIME,
    Kind,
)
from slipway_operator import names
from slipway_operator.matching import matches, stamped
from slipway_operator.worlds import Key, Object, World, key_of

CHILD_KINDS = (
    DEPLOYMENT,
    SERVICE,
    SERVICE_ACCOUNT,
    PDB,
    NETWORK_POLICY,
    PVC,
    JOB,
    SECRET,
    CONFIG_MAP,
    POD_MONITOR,
    LEADER_WORKER_SET,
    TRAINING_RUNTIME,
    TRAIN_JOB,
)
_KINDS = {(kind.api_version, kind.kind): kind for kind in CHILD_KINDS}
_UNCONTESTED = frozenset({SERVICE_ACCOUNT, PVC, SECRET, CONFIG_MAP})
"""Kinds of which somebody else's object could be taken over without a conflict in any field."""


_MOST_REPAIRS, _LATELY = 5, 300.0
"""A child that somebody else changed so often in so many seconds is not put back again."""


class ChildError(Exception):
    """A child cannot be as it should be, because of somebody else."""


class ContestedError(ChildError):
    """Somebody else changes a child again and again."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            f"Somebody else keeps changing the {kind} {name}, and it is put back no more for a while: "
            f"`kubectl get {kind.lower()} {name} -o yaml --show-managed-fields` says who. Stop that, or have "
            "it change the LLMService instead."
        )


class ForeignError(ChildError):
    """An object that is needed is there, and somebody else's."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            f"A {kind} named {name} is there that the operator has not made. It is left alone: rename or "
            "delete it, or give this object another name."
        )


class NotLeadingError(Exception):
    """Another operator may act by now."""


def _shape(item: Object) -> str:
    """A digest of what is asked of an object: not of its status, nor of what changes with that."""
    metadata = {
        name: item["metadata"].get(name) for name in ("labels", "annotations", "ownerReferences", "uid")
    }
    rest = {name: value for name, value in item.items() if name not in ("metadata", "status")}
    return names.digest({**rest, "metadata": metadata})


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    """The kind of a child's manifest."""
    return _KINDS[manifest["apiVersion"], manifest["kind"]]


@dataclass(slots=True)
class Executor:
    """Writes to the API server, and remembers in `world` what came of it."""

    client: Client
    world: World
    may_act: Callable[[], bool] = lambda: True
    """Asked before each write."""
    repaired: int = 0
    """Children that had been changed by somebody else."""
    clock: Callable[[], float] = time.monotonic
    _settled: dict[tuple[Kind, Key], tuple[str, str]] = field(default_factory=dict)
    """Digest of the manifest and of what came of it, where that does not say what was asked for: the API
    server writes some values in another way (1000m as 1), so asking again would change nothing, for ever."""
    _repairs: dict[tuple[Kind, Key], deque[float]] = field(default_factory=dict)
    """When each child was put back the last few times."""

    async def apply(self, manifest: Mapping[str, Any]) -> bool:
        """Make `manifest` true; whether that took a write. Raises KubeError, ForeignError."""
        kind, asked = kind_of(manifest), stamped(manifest)
        key = key_of(asked)
        known = self.world.get(kind, key)
        digest = asked["metadata"]["annotations"][names.DIGEST]
        if known is None:
            await self._unless_foreign(kind, asked)
        else:
            if matches(asked, known):
                return False
            if self._settled.get((kind, key)) == (digest, _shape(known)):
                return False
            if known["metadata"].get("annotations", {}).get(names.DIGEST) == digest:
                self._repair(kind, key)
        try:
            made = await self._write(kind, asked, force=known is not None)
        except ConflictError:
            if known is not None:
                raise  # No matter of owners, which are not asked: it has changed in this moment.
            if not await self._is_ours(kind, asked):
                raise ForeignError(kind.kind, key[1]) from None
            made = await self._write(kind, asked, force=True)
        if not matches(asked, made):
            self._settled[kind, key] = (digest, _shape(made))
        self.world.put(kind, made)
        return True

    def _repair(self, kind: Kind, key: Key) -> None:
        """Count a repair; raises ContestedError where there were too many of late."""
        now = self.clock()
        lately = self._repairs.setdefault((kind, key), deque())
        while lately and now - lately[0] > _LATELY:
            lately.popleft()
        if len(lately) >= _MOST_REPAIRS:
            raise ContestedError(kind.kind, key[1])
        lately.append(now)
        self.repaired += 1

    async def _write(self, kind: Kind, asked: Object, *, force: bool) -> Object:
        self._only_leading()
        return await self.client.apply(kind, asked, force=force)

    def _only_leading(self) -> None:
        if not self.may_act():
            raise NotLeadingError("The lead was lost in the middle of a turn: what was left is not written.")

    async def delete(self, kind: Kind, item: Object) -> None:
        """Delete this very object, and what it owns. Raises KubeError, a ConflictError if it is another."""
        key = namespace, name = key_of(item)
        self._only_leading()
        await self.client.delete(kind, namespace, name, uid=item["metadata"]["uid"])
        self._settled.pop((kind, key), None)
        self._repairs.pop((kind, key), None)

    async def status(self, kind: Kind, item: Object, status: Mapping[str, Any]) -> bool:
        """Make `status`, decided on `item`, the object's; whether that took a write.

        Raises KubeError, a ConflictError if the object has changed since.
        """
        known = self.world.get(kind, key_of(item)) or item
        if known.get("status") == status:
            return False
        namespace, name = key_of(item)
        body = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            # Of this very version: a status that was decided on an older one would undo what came since,
            # and another object that has the name by now has a status of its own.
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": item["metadata"]["uid"],
                "resourceVersion": item["metadata"]["resourceVersion"],
            },
            "status": dict(status),
        }
        self._only_leading()
        made = await self.client.apply_status(kind, body)
        self.world.put(kind, made)
        return True

    async def _unless_foreign(self, kind: Kind, asked: Object) -> None:
        """Look whether somebody else has the name, for kinds where an apply would not tell."""
        if kind in _UNCONTESTED and not await self._is_ours(kind, asked):
            raise ForeignError(kind.kind, asked["metadata"]["name"])

    async def _is_ours(self, kind: Kind, asked: Object) -> bool:
        """Whether what has the name now, if anything, was made for the same owner."""
        namespace, name = key_of(asked)
        try:
            metadata = (await self.client.get(kind, namespace, name))["metadata"]
        except NotFoundError:
            return True
        owners = {owner["uid"] for owner in asked["metadata"].get("ownerReferences", ())}
        if owners:
            return any(owner["uid"] in owners for owner in metadata.get("ownerReferences", ()))
        return bool(metadata.get("labels", {}).get(names.MANAGED_BY) == names.MANAGER)
