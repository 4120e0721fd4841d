"""Calls to the Kubernetes API. Objects are dicts; faults that pass are tried again, within bounds."""

import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import NamedTuple, Self

from slipway.kube.calls import JSON, CallLimits, Calls, Obj
from slipway.kube.config import Connection
from slipway.kube.errors import BadAnswerError, GoneError, NotFoundError, status_error
from slipway.kube.kinds import Kind

_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"  # JSON is YAML.
_GRACE = 15.0
"""Seconds that a watch may last longer than was asked for."""


class Listing(NamedTuple):
    """All objects of a kind at one moment."""

    items: list[Obj]
    resource_version: str


class WatchEvent(NamedTuple):
    """What a watch says: `type` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: Obj


class Client:
    """A client of one API server. Close it, or use it with `async with`.

    `manager` is the field manager of what it writes. Every method raises KubeError.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        manager: str = "slipway",
        limits: CallLimits | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.connection = connection
        self._manager = manager
        self._calls = Calls(connection, limits or CallLimits(), random)

    @property
    def calls(self) -> Counter[tuple[str, str, int]]:
        """Attempts by (verb, plural, status), the status of one without an answer being 0."""
        return self._calls.counts

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()

    # --- reading -----------------------------------------------------------------------------

    async def get(
        self, kind: Kind, namespace: str | None, name: str, *, subresource: str | None = None
    ) -> Obj:
        """One object; `namespace` is None where the kind has none. Raises NotFoundError."""
        return await self._call("get", kind, "GET", kind.path(namespace, name, subresource))

    async def list(
        self, kind: Kind, namespace: str | None = None, *, selector: str | None = None, page: int = 500
    ) -> Listing:
        """All objects of a kind (in a namespace, with a label selector) as of one moment.

        They are fetched `page` at a time; if the moment is forgotten before the last page, from the start
        again, at last in one piece. Each has its apiVersion and kind, which the API leaves out of lists.
        """
        restarts = 2
        while True:
            try:
                return await self._pages(kind, namespace, selector, page if restarts else 0)
            except GoneError:
                if not restarts:
                    raise
                restarts -= 1

    async def _pages(self, kind: Kind, namespace: str | None, selector: str | None, page: int) -> Listing:
        items: list[Obj] = []
        params: dict[str, str] = {"labelSelector": selector} if selector else {}
        if page:
            params["limit"] = str(page)
        while True:
            answer = await self._call("list", kind, "GET", kind.path(namespace), params=params)
            found, metadata = answer.get("items") or [], answer.get("metadata")
            if not isinstance(found, list) or not isinstance(metadata, dict):
                raise BadAnswerError(f"the list of {kind.plural} is no list")
            items += ({"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in found)
            if not metadata.get("continue"):
                return Listing(items, str(metadata.get("resourceVersion", "")))
            params["continue"] = metadata["continue"]

    @asynccontextmanager
    async def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        selector: str | None = None,
        resource_version: str,
        seconds: float = 300,
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """Open a watch from `resource_version` on: the block is entered once the server has accepted it.

        The events end when the server ends the watch, after about `seconds`. Raises GoneError, on entering or
        among the events, if it has forgotten that version, and UnreachableError if the watch is cut.
        """
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(int(seconds)),
        }
        if selector:
            params["labelSelector"] = selector
        path = kind.path(namespace)
        async with self._calls.stream("watch", kind.plural, path, params, seconds + _GRACE) as found:
            yield self._events(found)

    async def _events(self, found: AsyncIterator[bytes]) -> AsyncIterator[WatchEvent]:
        async for line in found:
            try:
                event = json.loads(line)
                kind, item = event["type"], event["object"]
                metadata = item["metadata"] if kind != "ERROR" else {}
            except (ValueError, KeyError, TypeError) as error:
                raise BadAnswerError("an event of a watch is no event") from error
            if kind == "ERROR":
                code = item.get("code") if isinstance(item, dict) else None
                raise status_error(code if isinstance(code, int) else 500, item)
            if not isinstance(metadata, dict):
                raise BadAnswerError("an event's object has no metadata")
            yield WatchEvent(kind, item)

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str] | None = None, *, seconds: float | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of an answer as they come, such as a pod's log; for at most `seconds` (None: no end)."""
        async with self._calls.stream(
            "stream", path.rsplit("/", 1)[-1], path, params or {}, seconds
        ) as found:
            yield found

    # --- writing -----------------------------------------------------------------------------

    async def create(self, kind: Kind, item: Obj, *, subresource: str | None = None) -> Obj:
        """Make an object, with `metadata.name` or `metadata.generateName`. Raises AlreadyExistsError.

        Not tried again where it may have been made already.
        """
        metadata = item["metadata"]
        path = kind.path(metadata.get("namespace"), metadata["name"] if subresource else None, subresource)
        params = {"fieldManager": self._manager}
        return await self._call("create", kind, "POST", path, params=params, body=_whole(kind, item))

    async def apply(
        self,
        kind: Kind,
        item: Obj,
        *,
        manager: str | None = None,
        force: bool = True,
        subresource: str | None = None,
        strict: bool = False,
        dry_run: bool = False,
    ) -> Obj:
        """Server-side apply: the fields in `item` become the manager's.

        With `force` even if they were another's, otherwise that is a ConflictError. `strict` refuses fields
        that the kind does not have. `manager` replaces the client's own field manager.
        """
        params = {"fieldManager": manager or self._manager, "force": "true" if force else "false"}
        if strict:
            params["fieldValidation"] = "Strict"
        if dry_run:
            params["dryRun"] = "All"
        path = _path_of(kind, item, subresource)
        return await self._call(
            "apply", kind, "PATCH", path, params=params, body=_whole(kind, item), content_type=_APPLY
        )

    async def apply_status(
        self, kind: Kind, item: Obj, *, manager: str | None = None, force: bool = True
    ) -> Obj:
        """Server-side apply of `item`'s status."""
        return await self.apply(kind, item, manager=manager, force=force, subresource="status")

    async def replace(self, kind: Kind, item: Obj, *, subresource: str | None = None) -> Obj:
        """Put `item` in an object's place. Raises ConflictError if its `metadata.resourceVersion` is old."""
        params = {"fieldManager": self._manager}
        path = _path_of(kind, item, subresource)
        return await self._call("update", kind, "PUT", path, params=params, body=_whole(kind, item))

    async def merge(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        patch: Obj,
        *,
        subresource: str | None = None,
    ) -> Obj:
        """JSON merge patch (RFC 7386). With an old `metadata.resourceVersion` in it, ConflictError."""
        return await self._call(
            "patch",
            kind,
            "PATCH",
            kind.path(namespace, name, subresource),
            params={"fieldManager": self._manager},
            body=patch,
            content_type=_MERGE,
        )

    async def delete(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        grace_seconds: int | None = None,
    ) -> bool:
        """Delete an object; False if there was none. Raises ConflictError if it is another or newer."""
        body: Obj = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        if uid or resource_version:
            body["preconditions"] = {key: value for key, value in preconditions.items() if value}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            await self._call("delete", kind, "DELETE", kind.path(namespace, name), body=body)
        except NotFoundError:
            return False
        return True

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Obj | None = None,
        content_type: str = JSON,
    ) -> Obj:
        """Any call that answers with a JSON object."""
        return await self._calls.answer(
            method.lower(), path, method, path, params=params, body=body, content_type=content_type
        )

    async def _call(
        self,
        verb: str,
        kind: Kind,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Obj | None = None,
        content_type: str = JSON,
    ) -> Obj:
        return await self._calls.answer(
            verb, kind.plural, method, path, params=params, body=body, content_type=content_type
        )


def _whole(kind: Kind, item: Obj) -> Obj:
    return {"apiVersion": kind.api_version, "kind": kind.kind, **item}


def _path_of(kind: Kind, item: Obj, subresource: str | None) -> str:
    metadata = item["metadata"]
    return kind.path(metadata.get("namespace"), metadata["name"], subresource)
