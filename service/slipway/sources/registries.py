"""Versions of a registry, from the server that hands them out (`python -m slipway.training.registry serve`).

`GET /NAME/VERSION` lists the files with sizes and digests, `GET /NAME/VERSION/FILE` is one of them. The
list's own digest is the version's, so that what arrives is what was registered or nothing.
"""

import hashlib
import hmac
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from slipway.sources.addresses import RegistryAddress
from slipway.sources.downloads import download, opener
from slipway.sources.errors import (
    AccessDeniedError,
    DigestMismatchError,
    SourceError,
    SourceNotFoundError,
    UnreachableError,
)
from slipway.sources.manifests import File, Manifest, files_of
from slipway.sources.origins import Job
from slipway.sources.parallel import each
from slipway.sources.paths import require_safe
from slipway.sources.progress import Meter
from slipway.sources.weights import select

KEY = "SLIPWAY_REGISTRY_KEY"
ENGINE_KEY = "SLIPWAY_ENGINE_KEY"
_LONGEST_LIST = 16 << 20
_THREADS = 4
_TIMEOUT_S = 30.0


def derived_key(engine_key: str) -> str:
    """The key of the registry's server where only the engines' key is shared.

    A source may name any host. What it is sent opens no engine, since the engines' key cannot be worked out
    from it.
    """
    return hmac.new(engine_key.encode(), b"slipway registry", hashlib.sha256).hexdigest()


def reading_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """The key to read with: `$SLIPWAY_REGISTRY_KEY`, or the one derived from `$SLIPWAY_ENGINE_KEY`."""
    if key := environ.get(KEY):
        return key
    engine_key = environ.get(ENGINE_KEY)
    return derived_key(engine_key) if engine_key else None


class RegistryOrigin:
    """One version of a registry."""

    def __init__(self, address: RegistryAddress) -> None:
        self._address = address
        self._manifest = Manifest(())
        key = reading_key()
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def resolve(self, job: Job) -> str:
        job.say(f"asking the registry for {self._address.name}/{self._address.version}")
        self._manifest = manifest = self._listed(self._ask())
        if self._address.digest not in (None, manifest.digest):
            raise DigestMismatchError(
                f"{self._address} is asked for, and the registry holds {manifest.digest} there: "
                "name the version that is meant."
            )
        return str(replace(self._address, digest=manifest.digest))

    def resolve_offline(self) -> str | None:
        return None

    def download(self, folder: Path, job: Job) -> Path:
        model = folder / "model"
        model.mkdir(exist_ok=True)
        job.require(self._manifest.size - sum((model / name).stat().st_size for name in files_of(model)))
        meter = Meter(job.report, "download", self._manifest.size, f"downloading {self._address.name}")

        def get(file: File, job: Job) -> None:
            target = model / file.path
            if target.exists():
                # Complete: it got its name after it was verified.
                meter.skip(file.size)
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            url = f"{self._address.url}/{file.path}"
            try:
                download(
                    url,
                    target,
                    digest=f"sha256:{file.sha256}",
                    size=file.size,
                    headers=self._headers,
                    meter=meter,
                    job=job,
                )
            except AccessDeniedError as error:
                raise self._denied() from error

        each(get, sorted(self._manifest.files, key=lambda file: -file.size), job, threads=_THREADS)
        meter.close()
        return model

    def _ask(self) -> bytes:
        request = urllib.request.Request(self._address.url, headers=self._headers)  # noqa: S310 - http or https
        try:
            with opener().open(request, timeout=_TIMEOUT_S) as response:
                body: bytes = response.read(_LONGEST_LIST + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error.code) from error
        except (OSError, ValueError, ssl.SSLError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            raise UnreachableError(
                f"The registry at {self._address.host} cannot be reached ({reason}): is its server running?"
            ) from error
        if len(body) > _LONGEST_LIST:
            raise UnreachableError(f"The registry at {self._address.host} sends a list without end.")
        return body

    def _listed(self, body: bytes) -> Manifest:
        """What the server says the version holds; each name is looked at before it is used."""
        try:
            content: dict[str, Any] = json.loads(body)
            files = tuple(
                File(str(each["path"]), int(each["size"]), str(each["sha256"])) for each in content["files"]
            )
            claimed = content["digest"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UnreachableError(
                f"{self._address.host} does not answer as a registry does: check the address."
            ) from error
        names = [require_safe(file.path, str(self._address)) for file in files]
        if len(set(names)) != len(names) or any(file.size < 0 for file in files):
            raise DigestMismatchError(f"{self._address} lists its files in a way that cannot be.")
        manifest = Manifest(tuple(sorted(files, key=lambda file: file.path)))
        if manifest.digest != claimed:
            raise DigestMismatchError(f"{self._address} has a list of files that is not the digest it names.")
        if sorted(names) != (taken := select(names, str(self._address))):
            odd = ", ".join(sorted(set(names) - set(taken))[:4])
            raise DigestMismatchError(f"{self._address} holds {odd}, which no model needs; it is not used.")
        return manifest

    def _refusal(self, status: int) -> SourceError:
        if status in (401, 403):
            return self._denied()
        if status == 404:
            return SourceNotFoundError(
                f"The registry at {self._address.host} holds no {self._address.name}/{self._address.version}:"
                " `slipway registry list` shows what there is."
            )
        return UnreachableError(f"The registry at {self._address.host} answered {status}.")

    def _denied(self) -> AccessDeniedError:
        return AccessDeniedError(
            f"The registry at {self._address.host} refuses the key: set {KEY} to its key, or {ENGINE_KEY} to"
            " the engines' key that it was started with."
        )
