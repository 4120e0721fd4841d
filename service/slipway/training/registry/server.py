"""Hands versions out over HTTP to who has the key: to engines, which fetch adapters at start and at run time.

GET /health                   200 without a key
GET /                         {"names": {"NAME": {"VERSION": {"digest", "stage", "kind", "size"}}}}
GET /NAME/VERSION             {"name", "version", "stage", "digest", "files": [{"path", "size", "sha256"}]}
GET /NAME/VERSION/FILE        the file, or ranges of it; `Repr-Digest` (RFC 9530) is that of the whole file

Nothing else is answered, and nothing can be changed. A file is handed out only if the version's record lists
it and it is a plain file of that size.
"""

import asyncio
import base64
import hmac
import logging
import signal
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from slipway.sources.registries import derived_key
from slipway.training.errors import RegistryError
from slipway.training.registry.artifacts import RECORD
from slipway.training.registry.records import Record
from slipway.training.registry.store import Registry

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_DRAIN_S = 20.0


class Key:
    """The key in a file, read anew for each request: a rotated Secret counts at once.

    Args:
        derived: the file holds the engines' key, and who reads is asked for what is derived from it.
    """

    def __init__(self, path: Path, *, derived: bool) -> None:
        self._path = path
        self._derived = derived

    def read(self) -> str:
        """The key that is asked for. Raises RegistryError if there is none."""
        try:
            key = self._path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise RegistryError(f"The key's file {self._path} cannot be read: {error}.", "NoKey") from error
        if not key:
            raise RegistryError(f"The key's file {self._path} is empty.", "NoKey")
        return derived_key(key) if self._derived else key

    def opens(self, given: str) -> bool:
        """Whether an `Authorization` header holds it; takes equally long for any that does not."""
        try:
            wanted = f"Bearer {self.read()}"
        except RegistryError as error:
            log.warning("%s Nobody is let in.", error)
            return False
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def application(registry: Registry, key: Key) -> web.Application:
    """The server's routes."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != "/health" and not key.opens(request.headers.get("Authorization", "")):
            return _refusal(401, "The key is missing or wrong.", {"WWW-Authenticate": "Bearer"})
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return _refusal(error.status, error.reason, {})
        except RegistryError as error:
            if error.reason in ("NotFound", "BadName"):
                return _refusal(404, "There is no such version.", {})
            log.error("%s", error)
            return _refusal(500, "The version is damaged.", {})
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def health(_: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ok"})

    async def index(_: web.Request) -> web.StreamResponse:
        return web.json_response(await asyncio.to_thread(_index, registry))

    async def version(request: web.Request) -> web.StreamResponse:
        found = await asyncio.to_thread(_version, registry, request)
        return web.json_response(found, headers={"ETag": f'"{found["digest"]}"'})

    async def file(request: web.Request) -> web.StreamResponse:
        return await asyncio.to_thread(_file, registry, request)

    app = web.Application(middlewares=[guarded], client_max_size=0)
    app.add_routes(
        [
            web.get("/health", health),
            web.get("/", index),
            web.get("/{name}/{version}", version),
            web.get("/{name}/{version}/{path:.+}", file),
        ]
    )
    return app


def _index(registry: Registry) -> dict[str, object]:
    names: dict[str, dict[str, object]] = {}
    for record in registry.records():
        names.setdefault(record.name, {})[record.version] = {
            "digest": record.digest,
            "stage": registry.standing(record.name, record.version).stage,
            "kind": record.kind,
            "size": record.size,
        }
    return {"names": names}


def _version(registry: Registry, request: web.Request) -> dict[str, object]:
    record = _record(registry, request)
    return {
        "name": record.name,
        "version": record.version,
        "stage": registry.standing(record.name, record.version).stage,
        "digest": record.digest,
        "files": [file.model_dump() for file in record.files],
    }


def _file(registry: Registry, request: web.Request) -> web.StreamResponse:
    record = _record(registry, request)
    folder, path = registry.folder(record.name, record.version), request.match_info["path"]
    if path == RECORD:
        return web.json_response(text=record.model_dump_json())
    file = next((each for each in record.files if each.path == path), None)
    if file is None:
        raise web.HTTPNotFound(reason="There is no such file.")
    target = folder / file.path
    about = target.lstat()
    linked = any(each.is_symlink() for each in target.parents if each.is_relative_to(registry.root))
    if linked or not stat.S_ISREG(about.st_mode) or about.st_size != file.size:
        raise RegistryError(f"{target} is not the file that was registered.", "WrongDigest")
    digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
    return web.FileResponse(
        target,
        headers={"Repr-Digest": f"sha-256=:{digest}:", "Content-Type": "application/octet-stream"},
    )


def _record(registry: Registry, request: web.Request) -> Record:
    return registry.record(request.match_info["name"], request.match_info["version"])


def _refusal(status: int, message: str, headers: dict[str, str]) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status, headers=headers)


async def serve(registry: Registry, key: Key, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is being sent.

    Args:
        ready: told the port once connections are taken.

    Raises:
        RegistryError: there is no key, or the address cannot be listened on.
    """
    key.read()
    stopped = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    runner = web.AppRunner(
        application(registry, key), access_log=None, keepalive_timeout=30, shutdown_timeout=_DRAIN_S
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise RegistryError(
                f"{host}:{port} cannot be listened on: {error.strerror}.", "NoPort"
            ) from error
        ready(runner.addresses[0][1])
        await stopped.wait()
    finally:
        await runner.cleanup()
