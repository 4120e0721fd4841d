"""Models of a Hugging Face hub, or of a mirror that speaks its protocol (HF_ENDPOINT).

huggingface_hub resolves, and knows the token, the offline switch and a cache of its own. The files are
downloaded here, because its own downloads start from nothing after a kill, and cannot be cancelled.
"""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slipway.sources.addresses import HubAddress
from slipway.sources.contents import MODEL, Contents
from slipway.sources.downloads import download
from slipway.sources.errors import (
    AccessDeniedError,
    NotAModelError,
    SourceError,
    SourceNotFoundError,
    UnreachableError,
)
from slipway.sources.manifests import files_of
from slipway.sources.origins import Job
from slipway.sources.parallel import each
from slipway.sources.paths import require_safe
from slipway.sources.progress import Meter, check

_THREADS = 4
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class _File:
    name: str
    target: str
    size: int | None
    digest: str | None


class HubOrigin:
    """A repository, or what a path names in it."""

    def __init__(self, address: HubAddress, contents: Contents = MODEL) -> None:
        self._contents = contents
        self._address = address
        self._commit = ""
        self._files: list[_File] = []
        self._cached: Path | None = None

    def resolve(self, job: Job) -> str:
        from huggingface_hub import HfApi

        job.say(f"asking the hub for {self._address.repo}")
        try:
            info = HfApi(endpoint=_endpoint()).repo_info(
                self._address.repo,
                repo_type=self._contents.repository,
                revision=self._address.revision,
                files_metadata=True,
                timeout=_TIMEOUT_S,
            )
        except Exception as error:
            # Which HTTP library raises here changes with huggingface_hub's version.
            raise self._failure(error) from error
        if not info.sha:
            raise UnreachableError(f"The hub names no commit for {self._address}.")
        self._commit = info.sha
        listed = getattr(info, "siblings", None) or ()  # Kernels, which are never asked for, have none.
        siblings = {require_safe(item.rfilename, str(self._address)): item for item in listed}
        self._files = [_file(siblings[name], target) for name, target in self._chosen(list(siblings)).items()]
        return str(replace(self._address, revision=self._commit))

    def resolve_offline(self) -> str | None:
        """From huggingface_hub's own cache, which may have been filled for a machine without a network."""
        from huggingface_hub import snapshot_download

        try:
            folder = snapshot_download(
                self._address.repo,
                repo_type=self._contents.repository,
                revision=self._address.revision,
                local_files_only=True,
            )
        except OSError:
            return None
        self._cached = Path(folder)
        self._commit = self._cached.name
        return str(replace(self._address, revision=self._commit))

    def download(self, folder: Path, job: Job) -> Path:
        model = folder / "model"
        if self._cached is not None:
            self._copy(self._cached, model, job)
        else:
            self._download(model, job)
        file = self._address.file
        return model / Path(file).name if file and self._is_model_file else model

    @property
    def _is_model_file(self) -> bool:
        return self._address.file is not None and self._contents is MODEL

    def _download(self, model: Path, job: Job) -> None:
        from huggingface_hub import get_token, hf_hub_url

        total = sum(file.size or 0 for file in self._files)
        job.require(total - _size(model))
        meter = Meter(job.report, "download", total, f"downloading {self._address.repo}")
        token = get_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}

        def get(file: _File, job: Job) -> None:
            target = model / file.target
            if target.exists():
                # Complete: it got its name after it was verified.
                meter.skip(target.stat().st_size)
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            url = hf_hub_url(
                self._address.repo,
                file.name,
                repo_type=self._contents.repository,
                revision=self._commit,
                endpoint=_endpoint(),
            )
            try:
                download(
                    url, target, digest=file.digest, size=file.size, headers=headers, meter=meter, job=job
                )
            except AccessDeniedError as error:
                raise self._denied() from error

        each(get, sorted(self._files, key=lambda file: -(file.size or 0)), job, threads=_THREADS)
        meter.close()

    def _copy(self, snapshot: Path, model: Path, job: Job) -> None:
        chosen = self._chosen(files_of(snapshot))
        job.require(sum((snapshot / name).stat().st_size for name in chosen))
        shutil.rmtree(model, ignore_errors=True)
        for name, target in chosen.items():
            check(job.cancelled)
            (model / target).parent.mkdir(parents=True, exist_ok=True)
            source = (snapshot / name).resolve()
            try:
                os.link(source, model / target)
            except OSError:
                # Another file system, or one without links.
                shutil.copyfile(source, model / target)

    def _chosen(self, names: list[str]) -> dict[str, str]:
        """The files to take, and the names they get."""
        file = self._address.file
        if file is None or not self._is_model_file:
            inside = [name for name in names if file is None or name == file or name.startswith(f"{file}/")]
            return {name: name for name in self._contents.select(inside, str(self._address))}
        if file not in names:
            others = ", ".join(sorted(name for name in names if name.endswith(".gguf"))[:8])
            raise NotAModelError(f"{self._address.repo} holds no {file}; its GGUF files: {others or 'none'}.")
        return {file: Path(file).name}

    def _failure(self, error: Exception) -> SourceError:
        from huggingface_hub.errors import (
            GatedRepoError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        repo = self._address.repo
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, OfflineModeIsEnabled):
            return UnreachableError(
                f"{self._address} is not in the cache, and HF_HUB_OFFLINE is set: fetch it once with a "
                "network, or unset HF_HUB_OFFLINE."
            )
        if isinstance(error, GatedRepoError):
            return self._denied()
        if isinstance(error, RevisionNotFoundError):
            return SourceNotFoundError(
                f"{repo} has no revision {self._address.revision!r}: name a branch, a tag or a commit of it."
            )
        if isinstance(error, RepositoryNotFoundError) or status == 401:
            return SourceNotFoundError(
                f"{repo} does not exist on the hub, or is private: check the name, or set HF_TOKEN to a "
                "token that may read it."
            )
        if status == 403:
            return AccessDeniedError(
                f"The hub refuses the token for {repo} ({status}): set HF_TOKEN to a valid one."
            )
        what = f"answered {status}" if status else f"cannot be reached ({type(error).__name__}: {error})"
        return UnreachableError(
            f"The hub {what} for {repo}. Check the network, HTTPS_PROXY and HF_ENDPOINT, "
            "or name another source."
        )

    def _denied(self) -> AccessDeniedError:
        return AccessDeniedError(
            f"{self._address.repo} is gated: accept its terms on its page, then set HF_TOKEN to a token of "
            "that account."
        )


def _file(item: Any, target: str) -> _File:
    lfs = item.lfs
    digest = f"sha256:{lfs.sha256}" if lfs else f"git:{item.blob_id}" if item.blob_id else None
    return _File(item.rfilename, target, lfs.size if lfs else item.size, digest)


def _endpoint() -> str | None:
    # Read at each call: huggingface_hub reads it once, when it is imported.
    return os.environ.get("HF_ENDPOINT") or None


def _size(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in files_of(folder))
