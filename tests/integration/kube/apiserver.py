"""A stand-in API server on loopback that can be made to fail in every way an informer must survive."""

import asyncio
import copy
import json
from collections import deque
from typing import Any

from aiohttp import web

from slipway.kube import Kind, Obj
from slipway.kube.config import Connection
from slipway.kube.kinds import (
    API_KEY,
    CONFIG_MAP,
    ENDPOINT_SLICE,
    FINE_TUNE,
    LLM_SERVICE,
    MODEL_ROUTE,
    OWNER,
)

KINDS = (API_KEY, CONFIG_MAP, ENDPOINT_SLICE, FINE_TUNE, LLM_SERVICE, MODEL_ROUTE, OWNER)
Objects = dict[tuple[str, str], Obj]


class APIServer:
    """Lists in pages, watches, reads and writes; its faults are asked for beforehand.

    `refusals` answer the next requests with (status, headers, document); `stale` lists are answered from the
    state three changes ago; `compact` forgets all versions; `cut` breaks the open watches.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.heads: list[dict[str, str]] = []
        self.refusals: deque[tuple[int, dict[str, str], Any]] = deque()
        self.garbage: deque[bytes] = deque()
        """Lines that the next watches say before anything else."""
        self.stale = 0
        self.port = 0
        self._version = 100
        self._oldest = 100
        self._objects: dict[str, Objects] = {kind.plural: {} for kind in KINDS}
        self._history: dict[str, list[tuple[int, Objects]]] = {kind.plural: [(100, {})] for kind in KINDS}
        self._pages: dict[str, tuple[int, list[Obj]]] = {}
        self._events: list[tuple[int, str, str, Obj]] = []
        self._changed = asyncio.Event()
        self._watches: set[tuple[web.StreamResponse, asyncio.Transport]] = set()
        self._ending = 0
        self._runner: web.AppRunner | None = None

    @property
    def connection(self) -> Connection:
        return Connection(f"http://127.0.0.1:{self.port}")

    @property
    def running(self) -> bool:
        return self._runner is not None

    @property
    def watching(self) -> int:
        return len(self._watches)

    def items(self, kind: Kind) -> Objects:
        return self._objects[kind.plural]

    # --- its life ----------------------------------------------------------------------------

    async def start(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.01, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self.cut()
            await self._runner.cleanup()
            self._runner = None

    # --- the world ---------------------------------------------------------------------------

    def put(self, kind: Kind, namespace: str, name: str, **fields: Any) -> Obj:
        """Make or change an object."""
        objects = self._objects[kind.plural]
        old = objects.get((namespace, name))
        self._remember(kind)
        labels = fields.pop("labels", {})
        metadata = {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "uid": old["metadata"]["uid"] if old else f"uid-{self._version}",
            "resourceVersion": str(self._version),
            "managedFields": [{"manager": "somebody"}],
        }
        item = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **fields}
        objects[namespace, name] = item
        self._tell(kind, "MODIFIED" if old else "ADDED", item)
        return item

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete an object, if it is there."""
        old = self._objects[kind.plural].get((namespace, name))
        if old is None:
            return
        self._remember(kind)
        del self._objects[kind.plural][namespace, name]
        old = copy.deepcopy(old)
        old["metadata"]["resourceVersion"] = str(self._version)
        self._tell(kind, "DELETED", old)

    def compact(self) -> None:
        """Forget what happened: no watch can be resumed from before now, no list continued."""
        self._oldest = self._version
        self._pages.clear()

    def bookmark(self, kind: Kind) -> None:
        """Tell watches of a kind how far they have come."""
        self._version += 1
        self._tell(kind, "BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}})

    async def cut(self, said: bytes = b"") -> None:
        """Break off the open watches, after `said`."""
        for response, transport in list(self._watches):
            if said:
                await response.write(said)
            transport.abort()
        self._watches.clear()

    async def end(self, said: bytes = b"") -> None:
        """End the open watches as after their time, after `said`."""
        for response, _ in list(self._watches):
            if said:
                await response.write(said)
        self._ending += 1
        self._wake()

    def _remember(self, kind: Kind) -> None:
        self._history[kind.plural].append((self._version, dict(self._objects[kind.plural])))
        self._version += 1

    def _tell(self, kind: Kind, event: str, item: Obj) -> None:
        self._events.append((self._version, kind.plural, event, copy.deepcopy(item)))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # --- its answers -------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        params = dict(request.query)
        self.requests.append((request.method, request.path, params))
        self.heads.append({name.lower(): value for name, value in request.headers.items()})
        if self.refusals:
            status, headers, document = self.refusals.popleft()
            if status == 0:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            return web.Response(status=status, headers=headers, body=json.dumps(document).encode())
        parts = request.path.strip("/").split("/")
        plural = next((part for part in parts if part in self._objects), None)
        if plural is None:
            return _status(404, "NotFound", "the server could not find the requested resource")
        namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts else ""
        name = parts[-1] if parts[-1] != plural else None
        if name is None and request.method == "GET":
            if params.get("watch"):
                return await self._watch(request, plural, namespace, params)
            return self._list(plural, namespace, params)
        return self._one(request, plural, namespace, name, await request.read())

    def _one(
        self, request: web.Request, plural: str, namespace: str, name: str | None, body: bytes
    ) -> web.Response:
        kind = next(kind for kind in KINDS if kind.plural == plural)
        if request.method == "POST":
            name = json.loads(body)["metadata"]["name"]
            if (namespace, name) in self._objects[plural]:
                return _status(409, "AlreadyExists", f"{plural} {name!r} already exists")
        assert name is not None
        if request.method in ("POST", "PATCH", "PUT"):
            fields = {
                key: value for key, value in json.loads(body).items() if key not in ("metadata", "kind")
            }
            fields.pop("apiVersion", None)
            if request.content_type == "application/merge-patch+json":
                old = self._objects[plural].get((namespace, name))
                if old is None:
                    return _status(404, "NotFound", f"{plural} {name!r} not found")
                there = {key: value for key, value in old.items() if key not in ("metadata", "kind")}
                there.pop("apiVersion")
                fields = _merged(there, fields)
            return web.json_response(self.put(kind, namespace, name, **fields))
        found = self._objects[plural].get((namespace, name))
        if found is None:
            return _status(404, "NotFound", f"{plural} {name!r} not found")
        if request.method == "DELETE":
            self.remove(kind, namespace, name)
        return web.json_response(found)

    def _list(self, plural: str, namespace: str, params: dict[str, str]) -> web.Response:
        version, objects = self._version, self._objects[plural]
        if self.stale and "continue" not in params:
            self.stale -= 1
            version, objects = self._history[plural][-3:][0]
        rest = [
            {name: value for name, value in item.items() if name not in ("apiVersion", "kind")}
            for key, item in sorted(objects.items())
            if _selected(item, namespace, params)
        ]
        if token := params.get("continue"):
            if token not in self._pages:
                return _status(410, "Expired", "The provided continue parameter is too old")
            version, rest = self._pages.pop(token)
        limit = int(params.get("limit") or 0) or len(rest) + 1
        metadata = {"resourceVersion": str(version)}
        if len(rest) > limit:
            token = f"page-{len(self.requests)}"
            self._pages[token] = (version, rest[limit:])
            metadata["continue"] = token
        return web.json_response({"kind": "List", "metadata": metadata, "items": rest[:limit]})

    async def _watch(
        self, request: web.Request, plural: str, namespace: str, params: dict[str, str]
    ) -> web.StreamResponse:
        version = int(params["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        if self.garbage:
            await response.write(self.garbage.popleft() + b"\n")
        if version < self._oldest:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return response
        assert request.transport is not None
        watch = (response, request.transport)
        self._watches.add(watch)
        ending = self._ending
        try:
            while ending == self._ending:
                changed = self._changed
                for at, of, event, item in self._events:
                    if (
                        at > version
                        and of == plural
                        and (event == "BOOKMARK" or _selected(item, namespace, params))
                    ):
                        await response.write(json.dumps({"type": event, "object": item}).encode() + b"\n")
                version = max([version, *(event[0] for event in self._events)])
                await changed.wait()
        except ConnectionError:
            pass
        finally:
            self._watches.discard(watch)
        return response


def _merged(there: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(there) if isinstance(there, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _selected(item: Obj, namespace: str, params: dict[str, str]) -> bool:
    label = params.get("labelSelector")
    own = item["metadata"]
    return (not namespace or own["namespace"] == namespace) and (not label or label in own["labels"])


def _status(status: int, reason: str, message: str) -> web.Response:
    document = {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message}
    return web.json_response(document, status=status)
