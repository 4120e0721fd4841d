"""Models in an S3 bucket, or in a store that speaks its protocol (AWS_ENDPOINT_URL).

The listing pins names, sizes and ETags; every read asks for the listed ETag, so a file that was replaced
meanwhile is never spliced from two versions.
"""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.sources.addresses import S3Address
from slipway.sources.contents import MODEL, Contents
from slipway.sources.errors import (
    AccessDeniedError,
    SourceChangedError,
    SourceError,
    SourceNotFoundError,
    UnreachableError,
)
from slipway.sources.manifests import files_of
from slipway.sources.origins import Job
from slipway.sources.parallel import each
from slipway.sources.paths import require_safe
from slipway.sources.progress import Meter, check, wait

log = logging.getLogger(__name__)

_CHUNK = 8 << 20
_AHEAD = 4
"""Ranges of one file asked for at the same time."""
_THREADS = 4
"""Files read at the same time: at most 128 MiB are in memory."""
_ATTEMPTS = 6
_POLL_S = 0.2


@dataclass(frozen=True)
class _Object:
    key: str
    name: str
    size: int
    etag: str


class S3Origin:
    """All below a prefix, or one object."""

    def __init__(self, address: S3Address, contents: Contents = MODEL) -> None:
        self._contents = contents
        self._address = address
        self._objects: list[_Object] = []
        self._client: Any = None

    def resolve(self, job: Job) -> str:
        job.say(f"listing {self._address}")
        try:
            found = self._list()
        except Exception as error:
            raise self._failure(error) from error
        self._objects = self._chosen(found)
        listing = "".join(f"{item.etag} {item.size} {item.name}\n" for item in self._objects)
        return f"{self._address}#listing={hashlib.sha256(listing.encode()).hexdigest()}"

    def resolve_offline(self) -> str | None:
        return None

    def download(self, folder: Path, job: Job) -> Path:
        model = folder / "model"
        model.mkdir(exist_ok=True)
        total = sum(item.size for item in self._objects)
        job.require(total - sum((model / name).stat().st_size for name in files_of(model)))
        meter = Meter(job.report, "download", total, f"downloading {self._address}")
        each(lambda item, job: self._get(item, model, meter, job), self._objects, job, threads=_THREADS)
        meter.close()
        return model / self._objects[0].name if self._is_file and self._contents is MODEL else model

    @property
    def _is_file(self) -> bool:
        return self._address.prefix.endswith(self._contents.suffixes)

    def _list(self) -> dict[str, dict[str, Any]]:
        import s3fs

        # Instances and listings are cached by default, across fetches.
        self._client = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
        path = f"{self._address.bucket}/{self._address.prefix}"
        if self._is_file:
            return {path: self._client.info(path)}
        return dict(self._client.find(path, detail=True))

    def _chosen(self, found: dict[str, dict[str, Any]]) -> list[_Object]:
        root = f"{self._address.bucket}/{self._address.prefix}".rstrip("/") + "/"
        keys = {key: info for key, info in found.items() if info["type"] == "file" and not key.endswith("/")}
        if self._is_file:
            names = {Path(key).name: key for key in keys}
        else:
            names = {key.removeprefix(root): key for key in keys if key.startswith(root)}
            if not names:
                raise SourceNotFoundError(
                    f"{self._address} holds no objects: check the bucket, the prefix and AWS_ENDPOINT_URL."
                )
            for name in names:
                require_safe(name, str(self._address))
            names = {name: names[name] for name in self._contents.select(names, str(self._address))}
        return [
            _Object(key.partition("/")[2], name, int(keys[key]["size"]), str(keys[key]["ETag"]))
            for name, key in names.items()
        ]

    def _get(self, item: _Object, model: Path, meter: Meter, job: Job) -> None:
        target = model / item.name
        if target.exists():
            # Complete: it got its name when its last byte was there.
            meter.skip(item.size)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        with part.open("ab") as file:
            meter.skip(file.tell())
            for chunk in self._chunks(item, file.tell(), job):
                file.write(chunk)
                meter.add(len(chunk))
        part.replace(target)

    def _chunks(self, item: _Object, start: int, job: Job) -> Iterator[bytes]:
        """The object's bytes from `start` on, in order, a few ranges ahead."""
        starts = iter(range(start, item.size, _CHUNK))
        pending: deque[tuple[int, Future[bytes]]] = deque()
        try:
            while True:
                while len(pending) < _AHEAD and (at := next(starts, None)) is not None:
                    pending.append((at, self._ask(item, at)))
                if not pending:
                    return
                at, future = pending.popleft()
                yield self._await(item, at, future, job)
        finally:
            for _, future in pending:
                future.cancel()

    def _await(self, item: _Object, at: int, future: "Future[bytes]", job: Job) -> bytes:
        for attempt in range(_ATTEMPTS):
            try:
                chunk = self._wait(future, job)
                if len(chunk) == min(_CHUNK, item.size - at):
                    return chunk
                error: Exception = ConnectionError(f"the connection ended after {len(chunk)} bytes")
            except SourceError:
                raise
            except Exception as caught:
                failure = self._failure(caught, item)
                if not isinstance(failure, UnreachableError) or attempt == _ATTEMPTS - 1:
                    raise failure from caught
                error = caught
            log.info("Read of s3://%s/%s broke off: %s", self._address.bucket, item.key, error)
            wait(job.retry_wait_s * 2**attempt, job.cancelled)
            future = self._ask(item, at)
        raise UnreachableError(f"s3://{self._address.bucket}/{item.key} cannot be read: {error}.")

    def _wait(self, future: "Future[bytes]", job: Job) -> bytes:
        while True:
            try:
                check(job.cancelled)
                return future.result(timeout=_POLL_S)
            except TimeoutError:
                if future.done():
                    return future.result()
            except CancelledError as error:
                raise ConnectionError("the read was cancelled") from error
            except SourceError:
                future.cancel()
                raise

    def _ask(self, item: _Object, at: int) -> "Future[bytes]":
        async def read() -> bytes:
            response = await self._client._call_s3(
                "get_object",
                Bucket=self._address.bucket,
                Key=item.key,
                Range=f"bytes={at}-{min(at + _CHUNK, item.size) - 1}",
                IfMatch=item.etag,
            )
            async with response["Body"] as body:
                return bytes(await body.read())

        return asyncio.run_coroutine_threadsafe(read(), self._client.loop)

    def _failure(self, error: Exception, item: _Object | None = None) -> SourceError:
        what = f"s3://{self._address.bucket}/{item.key}" if item else str(self._address)
        cause = error.__cause__ or error
        code = str(getattr(cause, "response", {}).get("Error", {}).get("Code", ""))
        if code in ("PreconditionFailed", "412"):
            return SourceChangedError(f"{what} was replaced while it was read: fetch it again.")
        if isinstance(error, FileNotFoundError):
            return SourceNotFoundError(
                f"{what} does not exist: check the bucket, the prefix and AWS_ENDPOINT_URL."
            )
        if isinstance(error, PermissionError) or type(cause).__name__ == "NoCredentialsError":
            return AccessDeniedError(
                f"{what} may not be read: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "AWS_PROFILE, or FSSPEC_S3_ANON=true for a public bucket."
            )
        return UnreachableError(
            f"{what} cannot be read ({type(cause).__name__}: {cause}). Check the network, AWS_REGION and "
            "AWS_ENDPOINT_URL."
        )
