"""One file over HTTP: resumed where it broke off, retried, checked against its digest."""

import base64
import email.message
import hashlib
import http.client
import json
import logging
import os
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

from slipway import __version__
from slipway.sources.errors import (
    AccessDeniedError,
    DigestMismatchError,
    SourceNotFoundError,
    UnreachableError,
)
from slipway.sources.origins import Job
from slipway.sources.progress import Meter, check, wait

log = logging.getLogger(__name__)

_ATTEMPTS = 6
"""In a row without a single new byte."""
_BROKEN_OFF = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    ConnectionError,
    TimeoutError,
)
_CHUNK = 256 << 10
_TIMEOUT_S = 30.0
_LONGEST_WAIT_S = 60.0


class _StartOverError(Exception):
    """What is there so far is of no use."""


def download(
    url: str,
    target: Path,
    *,
    job: Job,
    digest: str | None = None,
    size: int | None = None,
    headers: Mapping[str, str] | None = None,
    meter: Meter | None = None,
) -> None:
    """Make `target` the file at `url`.

    A broken-off download lies beside it as `NAME.part`, with what the server said of it in `NAME.part.json`,
    and is gone on with, in this process or a later one.

    Args:
        digest: what is promised: `sha256:HEX`, or `git:HEX`, the id of a Git blob; None where nothing is.
        size: the promised size in bytes; None where it is not known.
        headers: sent to the first server, and not on to another one that it redirects to.
        meter: counts this file's bytes among others; the file has one of its own if None.

    Raises:
        DigestMismatchError: twice in a row, the second time from the start.
        UnreachableError: no new byte in several attempts.
    """
    part = target.with_name(f"{target.name}.part")
    for last in (False, True):
        one = _Download(url, part, digest, size, headers or {}, meter, job)
        resumed = part.exists()
        one.complete()
        wrong = one.mismatch()
        if not wrong:
            # In this order, so that a kill in between leaves nothing beside the finished file.
            one.notes.unlink(missing_ok=True)
            part.replace(target)
            return
        one.discard()
        if last or not resumed:
            raise DigestMismatchError(
                f"{_shown(url)} {wrong}: the mirror or a proxy on the way changed it. "
                "It was removed; try again, or use another mirror."
            )
        log.warning("%s was resumed and %s; it is downloaded from the start.", _shown(url), wrong)


class _Download:
    def __init__(
        self,
        url: str,
        part: Path,
        digest: str | None,
        size: int | None,
        headers: Mapping[str, str],
        meter: Meter | None,
        job: Job,
    ) -> None:
        self._url, credentials = _split_credentials(url)
        self._part = part
        self._digest = digest
        self._size = size
        self._headers = credentials | dict(headers)
        self._meter = meter
        self._counted = 0
        self._job = job
        self._opener = opener()
        self.notes = part.with_name(f"{part.name}.json")

    def complete(self) -> None:
        """Append to the part until it is the whole file."""
        failures = 0
        while True:
            before = self._have()
            delay = 0.0
            try:
                self._receive()
                return
            except _StartOverError:
                self.discard()
                failures += 1
                reason = "the file changed on the server"
            except urllib.error.HTTPError as error:
                with error:
                    _raise_for(error, self._url)
                    delay = _retry_after(error.headers)
                failures += 1
                reason = f"the server answered {error.code}"
            except _BROKEN_OFF as error:
                # An OSError of the disk is none of these, and goes up.
                if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
                    raise UnreachableError(
                        f"{_shown(self._url)} has a certificate that this machine does not trust ({error}): "
                        "let SSL_CERT_FILE name a bundle with its authority."
                    ) from error
                failures = 1 if self._have() > before else failures + 1
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            if failures >= _ATTEMPTS:
                raise UnreachableError(
                    f"{_shown(self._url)} cannot be downloaded: {reason}. Check the network and HTTPS_PROXY, "
                    "then try again; what was downloaded so far is kept."
                )
            delay = max(delay, self._job.retry_wait_s * 2 ** (failures - 1))
            log.info("Download of %s broke off (%s); going on in %.1f s.", _shown(self._url), reason, delay)
            wait(min(delay, _LONGEST_WAIT_S), self._job.cancelled)

    def mismatch(self) -> str | None:
        """What the part has that was not promised; None where all is well."""
        size = self._have()
        if self._size is not None and size != self._size:
            return f"has {size} bytes instead of {self._size}"
        if self._digest is None:
            return None
        kind, _, promised = self._digest.partition(":")
        found = _digest(self._part, kind, self._job.cancelled)
        return None if found == promised else f"has the {kind} digest {found} instead of {promised}"

    def discard(self) -> None:
        """Start from nothing."""
        self._part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def _receive(self) -> None:
        check(self._job.cancelled)
        have = self._have()
        if have and have == self._size:
            self._start_at(have)
            return
        with self._open(have) as response:
            if response.status == 206:
                if _start(response.headers) != have:
                    raise _StartOverError
                total = _total(response.headers)
            else:
                have = 0
                length = response.headers.get("Content-Length")
                total = int(length) if length else None
            if self._size is not None and total is not None and total != self._size:
                raise _StartOverError
            self._job.require((total or 0) - have)
            self._note(response.headers)
            if self._meter is None:
                name = self._part.name.removesuffix(".part")
                self._meter = Meter(self._job.report, "download", total, f"downloading {name}")
            self._start_at(have)
            # Unbuffered: what arrived outlives the process.
            with self._part.open("r+b" if have else "wb", buffering=0) as file:
                file.seek(have)
                have += self._copy(response, file)
        if total is not None and have != total:
            # http.client ends a cut body in silence.
            raise ConnectionError(f"the connection ended after {have} of {total} bytes")

    def _open(self, have: int) -> http.client.HTTPResponse:
        request = urllib.request.Request(self._url, headers=self._headers)  # noqa: S310 - pip or the hub gave it
        request.add_header("Accept-Encoding", "identity")
        request.add_header("User-Agent", f"slipway/{__version__}")
        if have:
            request.add_header("Range", f"bytes={have}-")
            validator = self._validator()
            if validator:
                request.add_header("If-Range", validator)
            elif self._digest is None:
                raise _StartOverError
        try:
            response = self._opener.open(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:
                error.close()
                raise _StartOverError from error
            raise
        assert isinstance(response, http.client.HTTPResponse)  # noqa: S101 - for the type checker
        return response

    def _copy(self, response: http.client.HTTPResponse, file: IO[bytes]) -> int:
        copied = 0
        while chunk := response.read1(_CHUNK):
            check(self._job.cancelled)
            file.write(chunk)
            copied += len(chunk)
            self._counted += len(chunk)
            if self._meter is not None:
                self._meter.add(len(chunk))
        return copied

    def _start_at(self, have: int) -> None:
        if self._meter is not None:
            self._meter.skip(have - self._counted)
        self._counted = have

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _validator(self) -> str | None:
        try:
            return str(json.loads(self.notes.read_text())["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _note(self, headers: email.message.Message) -> None:
        etag = headers.get("ETag", "")
        # A weak ETag may stand for different bytes, so If-Range does not take it.
        validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
        self.notes.write_text(json.dumps({"validator": validator} if validator else {}))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects over HTTP only, and takes no credentials along to another server."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme == "http"):
            raise AccessDeniedError(
                f"{_shown(req.full_url)} redirects to {new.scheme}, which is not followed."
            )
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and (old.scheme, old.netloc) != (new.scheme, new.netloc):
            for name in ("Authorization", "Cookie"):
                request.remove_header(name)
        return request


def opener() -> urllib.request.OpenerDirector:
    """Honours *_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, and the bundles that pip and its kin are told of."""
    context = ssl.create_default_context()
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        bundle = os.environ.get(name)
        if bundle and Path(bundle).is_file():
            context.load_verify_locations(bundle)
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Redirects())


def _split_credentials(url: str) -> tuple[str, dict[str, str]]:
    """A URL without its user and password, and the header that carries them instead."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    token = base64.b64encode(unquote(user).encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {token}"}


def _raise_for(error: urllib.error.HTTPError, url: str) -> None:
    if error.code in (401, 403, 407):
        raise AccessDeniedError(
            f"{_shown(url)} answered {error.code}: give this machine access to it."
        ) from error
    if error.code in (404, 410):
        raise SourceNotFoundError(f"{_shown(url)} answered {error.code}: the file is gone.") from error
    if error.code not in (408, 425, 429) and error.code < 500:
        raise UnreachableError(f"{_shown(url)} answered {error.code}.") from error


def _retry_after(headers: email.message.Message) -> float:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 0.0


def _total(headers: email.message.Message) -> int | None:
    total = headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None


def _start(headers: email.message.Message) -> int | None:
    start = headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdecimal() else None


def _digest(path: Path, kind: str, cancelled: threading.Event | None) -> str:
    if kind == "git":
        # Git's name for a blob, not a protection: what is fetched over TLS could only be damaged by accident.
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        digest = hashlib.new(kind)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            check(cancelled)
            digest.update(chunk)
    return digest.hexdigest()


def _shown(url: str) -> str:
    """A URL fit for a log: without user, password and query, which may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
