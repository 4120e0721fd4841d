"""A local copy of a kind's objects, following the API server: list and watch, as client-go's reflectors."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Set
from types import MappingProxyType

from slipway.kube.backoffs import Backoff
from slipway.kube.calls import Obj
from slipway.kube.client import Client
from slipway.kube.errors import APIStatusError, BadAnswerError, GoneError, KubeError, UnreachableError
from slipway.kube.kinds import Kind

ObjectKey = tuple[str, str]
"""(namespace, name); the namespace of a cluster's object is ""."""

_SHORT = 1.0
"""A watch without an event that ends within so many seconds has failed, or it would be opened in a loop."""
_DOUBTS = 3
"""How often an older list than what is known is asked for again before it is believed."""


def key_of(item: Obj) -> ObjectKey:
    """Under which key an informer keeps an object."""
    return item["metadata"].get("namespace") or "", item["metadata"]["name"]


class Informer:
    """Keeps `items`, the objects of a kind by (namespace, name), as the API server has them.

    `run` it as a task. `on_change(old, new)` is called after each change, `old` None for a new object, `new`
    None for a deleted one; a relist finds what was deleted while the server was away, and an object deleted
    and made anew (another uid) is told as both. Objects must not be changed by readers; `managedFields` are
    left out. While the server is away `items` stay as they were, and `stale_since` is the clock's time since
    when they may be old (None: a watch is open). `on_fault(error)` hears each fault that is waited out,
    `on_fresh()` when a watch is open again, `on_listed(keys, version)` after each list which objects there
    were at that version: who knows of one from elsewhere, as the answer to a write, learns that it is gone.
    """

    def __init__(
        self,
        client: Client,
        kind: Kind,
        namespace: str | None = None,
        *,
        selector: str | None = None,
        on_change: Callable[[Obj | None, Obj | None], None] | None = None,
        on_fault: Callable[[KubeError], None] | None = None,
        on_fresh: Callable[[], None] | None = None,
        on_listed: Callable[[Set[ObjectKey], str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        backoff: Backoff | None = None,
        page: int = 500,
        watch_seconds: float = 300,
    ) -> None:
        self.kind = kind
        self.stale_since: float | None = clock()
        self._client = client
        self._namespace = namespace or None
        self._selector = selector
        self._on_change = on_change or (lambda old, new: None)
        self._on_fault = on_fault or (lambda error: None)
        self._on_fresh = on_fresh or (lambda: None)
        self._on_listed = on_listed or (lambda keys, version: None)
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._page = page
        self._watch_seconds = watch_seconds
        self._items: dict[ObjectKey, Obj] = {}
        self._version = ""
        """Watch from here; "": list first."""
        self._known = ""
        """The newest version seen."""
        self._doubts = 0
        self._synced = asyncio.Event()

    @property
    def items(self) -> Mapping[ObjectKey, Obj]:
        """The objects as last known."""
        return MappingProxyType(self._items)

    async def synced(self) -> None:
        """Return once all objects have been listed for the first time."""
        await self._synced.wait()

    @property
    def has_synced(self) -> bool:
        """Whether all objects have been listed at least once."""
        return self._synced.is_set()

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._relist()
                await self._watch()
                continue
            except GoneError as error:
                self._version = ""
                fault: KubeError = error  # Listed anew, after a wait: a server may say so each time.
            except (APIStatusError, BadAnswerError) as error:
                # Not every server says 410 of a version that it cannot serve.
                if self._backoff.failures >= _DOUBTS:
                    self._version = ""
                fault = error
            except KubeError as error:
                fault = error
            self._mark_stale()
            self._on_fault(fault)
            await asyncio.sleep(self._backoff.next())

    def _mark_stale(self) -> None:
        if self.stale_since is None:
            self.stale_since = self._clock()

    async def _relist(self) -> None:
        listing = await self._client.list(
            self.kind, self._namespace, selector=self._selector, page=self._page
        )
        if _older(listing.resource_version, self._known) and self._doubts < _DOUBTS:
            # Behind a load balancer one API server may lag. A restored etcd is older for good.
            self._doubts += 1
            raise UnreachableError(f"the list of {self.kind.plural} is older than what is known already")
        self._doubts = 0
        found = {key_of(item): item for item in listing.items}
        for key in self._items.keys() - found.keys():
            self._remove(key, self._items[key])
        for key, item in found.items():
            self._put(key, item)
        self._on_listed(found.keys(), listing.resource_version)
        self._version = self._known = listing.resource_version
        self._synced.set()

    async def _watch(self) -> None:
        began = self._clock()
        heard = False
        # Not all watches at once: each ends at another time.
        seconds = self._watch_seconds * (0.8 + 0.2 * random.random())  # noqa: S311 - no secret
        async with self._client.watch(
            self.kind,
            self._namespace,
            selector=self._selector,
            resource_version=self._version,
            seconds=seconds,
        ) as events:
            if self.stale_since is not None:
                self.stale_since = None
                self._on_fresh()
            async for kind, item in events:
                heard = True
                self._backoff.reset()
                if kind == "DELETED":
                    self._remove(key_of(item), item)
                elif kind in ("ADDED", "MODIFIED"):
                    self._put(key_of(item), item)
                self._version = self._known = item["metadata"]["resourceVersion"]
        if not heard and self._clock() - began < _SHORT:
            raise UnreachableError(f"the watch of {self.kind.plural} ended as soon as it began")
        self._backoff.reset()

    def _put(self, key: ObjectKey, item: Obj) -> None:
        metadata = item["metadata"]
        metadata.pop("managedFields", None)
        old = self._items.get(key)
        if old is not None:
            if old["metadata"].get("resourceVersion") == metadata.get("resourceVersion"):
                return
            if old["metadata"].get("uid") != metadata.get("uid"):
                self._remove(key, old)
                old = None
        self._items[key] = item
        self._on_change(old, item)

    def _remove(self, key: ObjectKey, last: Obj) -> None:
        if self._items.pop(key, None) is not None:
            self._on_change(last, None)


def _older(version: str, known: str) -> bool:
    """Versions count upwards (Kubernetes 1.35 promises it); others are not compared."""
    return version.isdecimal() and known.isdecimal() and int(version) < int(known)
