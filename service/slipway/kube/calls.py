"""One call after another to an API server: credentials, attempts, counts; aiohttp's faults in our terms."""

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway import __version__
from slipway.kube.backoffs import Backoff
from slipway.kube.config import Connection
from slipway.kube.errors import (
    APIStatusError,
    BadAnswerError,
    KubeError,
    ServerError,
    TooManyRequestsError,
    UnauthorizedError,
    UnreachableError,
    status_error,
)
from slipway.kube.streams import lines

if TYPE_CHECKING:
    import aiohttp  # Costs a quarter of a second: loaded where the first connection is made.

Obj = dict[str, Any]

JSON = "application/json"
_LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of one watch event. etcd takes 1.5 MiB of an object; JSON may be some times as long."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How long and how often is tried; all times in seconds."""

    connect: float = 10.0
    answer: float = 30.0
    """From the start of an attempt to its last byte."""
    attempts: int = 5
    longest_wait: float = 10.0
    """Between two attempts; a server that names more by Retry-After is asked no more."""
    first_wait: float = 0.1


class _NotConnectedError(UnreachableError):
    """The request has not been sent."""


class Calls:
    """Makes calls through kept connections; faults that pass are tried again, within `limits`.

    `counts` holds attempts by (verb, resource, status), the status of one without an answer being 0.
    """

    def __init__(
        self, connection: Connection, limits: CallLimits, random: Callable[[], float] = random.random
    ) -> None:
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self._connection = connection
        self._limits = limits
        self._random = random
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            for _ in range(3):  # Sockets under TLS are closed in the loop's next rounds.
                await asyncio.sleep(0)
            self._session = None

    async def answer(
        self,
        verb: str,
        resource: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Obj | None = None,
        content_type: str = JSON,
    ) -> Obj:
        """The JSON object that a call is answered with; `verb` and `resource` are what it counts as."""
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        backoff = Backoff(self._limits.first_wait, self._limits.longest_wait, self._random)
        unauthorized = False
        for left in reversed(range(self._limits.attempts)):
            try:
                return await self._once(verb, resource, method, path, params or {}, data, content_type)
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
        async with self._attempt(
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
    async def stream(
        self, verb: str, resource: str, path: str, params: Mapping[str, str], seconds: float | None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of an answer as they come, in one attempt, for at most `seconds` (None: no end)."""
        async with self._attempt(verb, resource, "GET", path, params, None, {}, seconds) as answer:
            try:
                yield lines(_pieces(answer), _LONGEST_LINE)
            finally:
                # An end that TLS says goodbye in would outlive the client by up to half a minute.
                if answer.connection is not None and answer.connection.transport is not None:
                    answer.connection.transport.abort()

    @asynccontextmanager
    async def _attempt(
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

        connection = self._connection
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
                self.counts[verb, resource, status] += 1
                if status >= 300:
                    raise await _refusal(answer)
                yield answer
        except UnauthorizedError:
            connection.credentials.refused()
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if not status:
                self.counts[verb, resource, 0] += 1
            sent = not isinstance(error, aiohttp.ClientConnectorError)
            kind = UnreachableError if sent else _NotConnectedError
            raise kind(f"{connection.server}: {_said(error)}") from error

    def _open(self) -> "aiohttp.ClientSession":
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(socket_factory=_socket),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Compression costs both sides more than the network between them.
                headers={
                    "user-agent": f"slipway/{__version__}",
                    "accept": JSON,
                    "accept-encoding": "identity",
                },
            )
        return self._session


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
        raise UnreachableError(f"the answer was cut off: {_said(error)}") from error


def _said(error: Exception) -> str:
    """What aiohttp says of a fault, without its objects in the middle."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot be connected to: {error.os_error.strerror or error.os_error}"
    return str(error) or type(error).__name__


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
