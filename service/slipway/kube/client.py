"""Calls to the Kubernetes API. Objects are dicts; faults that pass are tried again, within bounds."""

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from slipway import __version__
from slipway.kube.backoffs import Backoff
from slipway.kube.config import Connection
from slipway.kube.errors import (
    APIStatusError,
    BadAnswerError,
    GoneError,
    KubeError,
    NotFoundError,
    ServerError,
    TooManyRequestsError,
    UnauthorizedError,
    UnreachableError,
    status_error,
)
from slipway.kube.kinds import Kind
from slipway.kube.streams import lines

if TYPE_CHECKING:
    import aiohttp  # Costs a quarter of a second: loaded where the first connection is made.

Obj = dict[str, Any]

_JSON = "application/json"
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"  # JSON is YAML.
_LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of one watch event. etcd takes 1.5 MiB of an object; JSON may be some times as long."""
_GRACE = 15.0
"""Seconds that a watch may last longer than was asked for."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """How long and how often is tried; all times in seconds."""

    connect: float = 10.0
    answer: float = 30.0
    """From the start of an attempt to its last byte."""
    attempts: int = 5
    longest_wait: float = 10.0
    """Between two attempts; a server that names more by Retry-After is asked no more."""
    first_wait: float = 0.1


class Listing(NamedTuple):
    """All objects of a kind at one moment."""

    items: list[Obj]
    resource_version: str


class WatchEvent(NamedTuple):
    """What a watch says: `type` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: Obj


class _NotConnectedError(UnreachableError):
    """The request has not been sent."""


class Client:
    """A client of one API server. Close it, or use it with `async with`.

    `manager` is the field manager of what it writes. `calls` counts attempts by (verb, plural, status), the
    status of an attempt without an answer being 0. Every method raises KubeError.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        manager: str = "slipway",
        limits: ClientLimits | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.connection = connection
        self.calls: Counter[tuple[str, str, int]] = Counter()
        self._manager = manager
        self._limits = limits or ClientLimits()
        self._random = random
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

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
        async with self._stream("watch", kind.plural, path, params, seconds + _GRACE) as found:
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
        async with self._stream("stream", path.rsplit("/", 1)[-1], path, params or {}, seconds) as found:
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

    # --- calls -------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Obj | None = None,
        content_type: str = _JSON,
    ) -> Obj:
        """Any call that answers with a JSON object."""
        return await self._tried(method.lower(), path, method, path, params or {}, body, content_type)

    async def _call(
        self,
        verb: str,
        kind: Kind,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Obj | None = None,
        content_type: str = _JSON,
    ) -> Obj:
        return await self._tried(verb, kind.plural, method, path, params or {}, body, content_type)

    async def _tried(
        self,
        verb: str,
        resource: str,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: Obj | None,
        content_type: str,
    ) -> Obj:
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        backoff = Backoff(self._limits.first_wait, self._limits.longest_wait, self._random)
        unauthorized = False
        for left in reversed(range(self._limits.attempts)):
            try:
                return await self._once(verb, resource, method, path, params, data, content_type)
            except UnauthorizedError:
                # Once: the credential may have been replaced by another in the meantime.
                if unauthorized or not left:
                    raise
                unauthorized = True
            except KubeError as error:
                wait = self._wait(error, method, backoff)
                if wait is None or not left:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _wait(self, error: KubeError, method: str, backoff: Backoff) -> float | None:
        """Seconds after which `error` may have passed; None: trying again is useless or not safe."""
        if isinstance(error, TooManyRequestsError | ServerError) and error.retry_after is not None:
            # The server has done nothing, and says when it will.
            return error.retry_after if error.retry_after <= self._limits.longest_wait else None
        if isinstance(error, TooManyRequestsError | _NotConnectedError):
            return backoff.next()
        if isinstance(error, ServerError | UnreachableError) and method != "POST":
            return backoff.next()
        return None

    async def _once(
        self,
        verb: str,
        resource: str,
        method: str,
        path: str,
        params: Mapping[str, str],
        data: bytes | None,
        content_type: str,
    ) -> Obj:
        headers = {"content-type": content_type} if data is not None else {}
        async with self._answer(
            verb, resource, method, path, params, data, headers, self._limits.answer
        ) as answer:
            raw = await answer.read()
        try:
            document = json.loads(raw)
        except ValueError as error:
            raise BadAnswerError(f"{method} {path} was answered with something that is no JSON") from error
        if not isinstance(document, dict):
            raise BadAnswerError(f"{method} {path} was answered with something that is no object")
        return document

    @asynccontextmanager
    async def _stream(
        self, verb: str, resource: str, path: str, params: Mapping[str, str], seconds: float | None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._answer(verb, resource, "GET", path, params, None, {}, seconds) as answer:
            yield lines(_pieces(answer), _LONGEST_LINE)

    @asynccontextmanager
    async def _answer(
        self,
        verb: str,
        resource: str,
        method: str,
        path: str,
        params: Mapping[str, str],
        data: bytes | None,
        headers: dict[str, str],
        seconds: float | None,
    ) -> "AsyncIterator[aiohttp.ClientResponse]":
        """One attempt's answer, if it is a success."""
        import aiohttp

        connection = self.connection
        credential = await connection.credentials.current()
        tls = connection.tls(credential)
        if credential.token:
            headers["authorization"] = f"Bearer {credential.token}"
        status = 0
        try:
            async with self._open().request(
                method,
                connection.server + path,
                params=params,
                data=data,
                headers=headers,
                ssl=True if tls is None else tls,
                server_hostname=connection.server_name if tls is not None else None,
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=self._limits.connect),
                allow_redirects=False,
            ) as answer:
                status = answer.status
                self.calls[verb, resource, status] += 1
                if status >= 300:
                    raise await _refusal(answer)
                yield answer
        except UnauthorizedError:
            connection.credentials.refused()
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if not status:
                self.calls[verb, resource, 0] += 1
            sent = not isinstance(error, aiohttp.ClientConnectorError)
            kind = UnreachableError if sent else _NotConnectedError
            raise kind(f"{connection.server}: {str(error) or type(error).__name__}") from error

    def _open(self) -> "aiohttp.ClientSession":
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(socket_factory=_socket),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Compression costs both sides more than the network between them.
                headers={
                    "user-agent": f"slipway/{__version__}",
                    "accept": _JSON,
                    "accept-encoding": "identity",
                },
            )
        return self._session


def _whole(kind: Kind, item: Obj) -> Obj:
    return {"apiVersion": kind.api_version, "kind": kind.kind, **item}


def _path_of(kind: Kind, item: Obj, subresource: str | None) -> str:
    metadata = item["metadata"]
    return kind.path(metadata.get("namespace"), metadata["name"], subresource)


async def _refusal(answer: "aiohttp.ClientResponse") -> APIStatusError:
    raw = await answer.content.read(64 * 1024)
    try:
        document = json.loads(raw)
    except ValueError:
        document = {"message": raw.decode(errors="replace").strip()[:500]}
    after = answer.headers.get("retry-after", "")
    return status_error(answer.status, document, float(after) if after.isdecimal() else None)


async def _pieces(answer: "aiohttp.ClientResponse") -> AsyncIterator[bytes]:
    import aiohttp

    try:
        async for piece in answer.content.iter_any():
            yield piece
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnreachableError(f"the answer was cut off: {str(error) or type(error).__name__}") from error


def _socket(info: "aiohttp.AddrInfoType") -> socket.socket:
    """A socket that notices within half a minute that the machine on the other side is gone."""
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 15),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 30_000),
    ):
        if hasattr(socket, name):  # Not all are known outside Linux.
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    made.setblocking(False)
    return made
