"""The console's files, served to whatever path no route has: same origin, nothing from elsewhere."""

from collections.abc import Callable
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
"""`no-cache` lets browsers keep a file but ask whether it is still the one."""

_RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class ConsoleFiles:
    """An ASGI application over a folder, `index.html` at `/`. What is not there is a 404 for every method."""

    def __init__(self, folder: Path, connects: Callable[[], tuple[str, ...]] = lambda: ()) -> None:
        """`connects` gives the origins that pages may ask beside their own: those of a sign-in provider."""
        self._connects = connects
        self._files = StaticFiles(directory=folder, html=True, check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(404)
        path = scope["path"]
        if path.startswith("/v1/") or "\0" in path or any(part.startswith(".") for part in path.split("/")):
            raise HTTPException(404)
        response = await self._files.get_response(self._files.get_path(scope), scope)
        if response.status_code == 404:
            raise HTTPException(404)
        response.raw_headers.extend(_RAW)
        others = self._connects()
        if others:
            policy = HEADERS["content-security-policy"]
            more = policy.replace("connect-src 'self'", " ".join(("connect-src 'self'", *others)))
            response.headers["content-security-policy"] = more
        await response(scope, receive, send)
