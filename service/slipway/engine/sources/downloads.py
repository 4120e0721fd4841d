"""One file over HTTP: resumed where it broke off, retried, checked against its digest."""

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

from slipway import __version__
from slipway.engine.sources.errors import (
    AccessDeniedError,
    DigestMismatchError,
    SourceNotFoundError,
    UnreachableError,
)
from slipway.engine.sources.origins import Job
from slipway.engine.sources.progress import Meter, check, wait

log = logging.getLogger(__name__)

_ATTEMPTS = 6
"""In a row without a single new byte."""
_CHUNK = 256 << 10
_TIMEOUT_S = 30.0
_LONGEST_WAIT_S = 60.0


class _StartOverError(Exception):
    """What is there so far is of no use."""


def download(url: str, target: Path, *, sha256: str | None, size: int | None, job: Job) -> None:
    """Make `target` the file at `url`.

    A broken-off download lies beside it as `NAME.part`, with what the server said of it in `NAME.part.json`,
    and is gone on with, in this process or a later one.

    Args:
        sha256: the promised digest in hex digits, None where nobody promised one.
        size: the promised size in bytes, for the check of the disk; None where it is not known.

    Raises:
        DigestMismatchError: twice in a row, the second time from the start.
        UnreachableError: no new byte in several attempts.
    """
    part = target.with_name(f"{target.name}.part")
    for last in (False, True):
        resumed = part.exists()
        _complete(url, part, size, job)
        found = _digest(part, job.cancelled) if sha256 else None
        if found == sha256:
            part.replace(target)
            _notes(part).unlink(missing_ok=True)
            return
        part.unlink()
        _notes(part).unlink(missing_ok=True)
        if last or not resumed:
            raise DigestMismatchError(
                f"{_shown(url)} has SHA-256 {found} instead of {sha256}: the mirror or a proxy on the way "
                "changed it. It was removed; try again, or use another index."
            )
        log.warning(
            "%s was resumed and does not match its digest; it is downloaded from the start.", _shown(url)
        )


def _complete(url: str, part: Path, size: int | None, job: Job) -> None:
    """Append to `part` until the server's file is complete."""
    opener = _opener()
    meter: Meter | None = None
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        delay = 0.0
        try:
            meter = _receive(opener, url, part, size, meter, job)
            return
        except _StartOverError:
            part.unlink(missing_ok=True)
            _notes(part).unlink(missing_ok=True)
            failures += 1
            reason = "the file changed on the server"
        except urllib.error.HTTPError as error:
            with error:
                _raise_for(error, url)
                delay = _retry_after(error.headers)
            failures += 1
            reason = f"the server answered {error.code}"
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            ConnectionError,
            TimeoutError,
            ssl.SSLError,
        ) as error:
            # An OSError of the disk is none of these, and goes up.
            grown = (part.stat().st_size if part.exists() else 0) > before
            failures = 1 if grown else failures + 1
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        if failures >= _ATTEMPTS:
            raise UnreachableError(
                f"{_shown(url)} cannot be downloaded: {reason}. Check the network and HTTPS_PROXY, then "
                "try again; what was downloaded so far is kept."
            )
        delay = max(delay, job.retry_wait_s * 2 ** (failures - 1))
        log.info("Download of %s broke off (%s); going on in %.1f s.", _shown(url), reason, delay)
        wait(min(delay, _LONGEST_WAIT_S), job.cancelled)


def _receive(
    opener: urllib.request.OpenerDirector,
    url: str,
    part: Path,
    size: int | None,
    meter: Meter | None,
    job: Job,
) -> Meter:
    check(job.cancelled)
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": f"slipway/{__version__}"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator := _read_notes(part).get("validator"):
            headers["If-Range"] = validator
    try:
        # The scheme was checked by whoever resolved the address.
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            with error:
                if _total(error.headers) == have:
                    return meter or Meter(job.report, "download", have, part.stem, done=have)
            raise _StartOverError from error
        raise
    with response:
        if response.status == 206:
            if _start(response.headers) != have:
                raise _StartOverError
            total = _total(response.headers)
        else:
            have = 0
            length = response.headers.get("Content-Length")
            total = int(length) if length else None
        job.require((total or size or 0) - have)
        _write_notes(part, response.headers)
        meter = meter or Meter(job.report, "download", total or size, f"downloading {part.stem}", done=have)
        meter.move(have)
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            while chunk := response.read(_CHUNK):
                check(job.cancelled)
                file.write(chunk)
                meter.add(len(chunk))
            received = file.tell()
    meter.close()
    if total is not None and received != total:
        # http.client ends a cut body in silence.
        raise ConnectionError(f"the connection ended after {received} of {total} bytes")
    return meter


def _opener() -> urllib.request.OpenerDirector:
    """Honours *_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, and the bundles that pip and its kin are told of."""
    context = ssl.create_default_context()
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        bundle = os.environ.get(name)
        if bundle and Path(bundle).is_file():
            context.load_verify_locations(bundle)
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))


def _raise_for(error: urllib.error.HTTPError, url: str) -> None:
    if error.code in (401, 403, 407):
        raise AccessDeniedError(
            f"{_shown(url)} answered {error.code}: give this machine access to it."
        ) from error
    if error.code in (404, 410):
        raise SourceNotFoundError(
            f"{_shown(url)} answered {error.code}: the file is gone from the server."
        ) from error
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


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_notes(part: Path) -> Mapping[str, str]:
    try:
        notes = json.loads(_notes(part).read_text())
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _write_notes(part: Path, headers: email.message.Message) -> None:
    etag = headers.get("ETag", "")
    # A weak ETag may stand for different bytes, so If-Range does not take it.
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    _notes(part).write_text(json.dumps({"validator": validator} if validator else {}))


def _digest(path: Path, cancelled: threading.Event | None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            check(cancelled)
            digest.update(chunk)
    return digest.hexdigest()


def _shown(url: str) -> str:
    """A URL fit for a log: without user, password and query, which may hold secrets."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0].partition('#')[0]}"
