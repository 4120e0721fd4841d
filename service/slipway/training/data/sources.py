"""Has the files of a source here, as pieces that can be read one by one."""

import codecs
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from slipway.objects.datasets import DataSource, Format
from slipway.sources import Progress, SourceError, fetch_data
from slipway.sources.contents import DATA, PACKED, select_data
from slipway.sources.downloads import download
from slipway.sources.manifests import files_of
from slipway.sources.origins import Job
from slipway.training.data.chunks import Chunk, cut, new_digest
from slipway.training.data.versions import sha256_of
from slipway.training.errors import DataError

CLAIMS = "SLIPWAY_CLAIMS"
"""Environment variable: the folder in which the claims of pvc:// sources are mounted, each under its name."""
_MOST_EXPANSION = 200
"""Text shrinks tenfold; what grows two hundredfold is a bomb."""
_BLOCK = 1 << 20
_BOMS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16"} | {
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A source, looked through."""

    source: DataSource
    format: Format
    resolved: str
    digest: str
    """SHA-256 over the digests of its files, whatever their names and order."""
    files: int
    size: int
    """Bytes."""
    chunks: tuple[Chunk, ...]
    empty: tuple[str, ...]
    """Files without anything in them."""


def find(
    source: DataSource, form: Format, scratch: Path, report: Callable[[str], None], check: Callable[[], None]
) -> Found:
    """Fetch a source and cut its files into pieces.

    Args:
        form: the dataset's format, where the source names none.
        scratch: a folder for what has to be unpacked.
        report: told what is being done.
        check: called between files; raises to stop.

    Raises:
        DataError: it cannot be had, or holds nothing that can be read.
    """
    folder, names, resolved = _fetched(source, scratch, report)
    chunks: list[Chunk] = []
    digests, empty, size = [], [], 0
    for name in names:
        check()
        path = folder / name
        report(f"looking through {name}")
        plain, suffix, whole = _plain(path, name, scratch)
        digest = new_digest()
        pieces = cut(plain, name, suffix, digest)
        digests.append(whole or digest.hexdigest())
        size += path.stat().st_size
        chunks += pieces
        if not pieces:
            empty.append(name)
    together = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
    return Found(
        source,
        source.format or form,
        resolved,
        f"sha256:{together}",
        len(names),
        size,
        tuple(chunks),
        tuple(empty),
    )


def _fetched(source: DataSource, scratch: Path, report: Callable[[str], None]) -> tuple[Path, list[str], str]:
    """A folder, the names of its files, and the pinned form of the address."""

    def tell(progress: Progress) -> None:
        report(f"{source.name}: {progress.message}")

    try:
        if source.source.startswith(("http://", "https://")):
            path = _downloaded(source.source, scratch / source.name, tell)
            return path.parent, [path.name], source.source.partition("?")[0]
        fetched = fetch_data(_mounted(source.source), progress=tell)
        if fetched.path.is_file():
            select_data([fetched.path.name], str(fetched.path))
            return fetched.path.parent, [fetched.path.name], fetched.resolved
        return fetched.path, select_data(files_of(fetched.path), source.source), fetched.resolved
    except SourceError as error:
        raise DataError(f"Source {source.name}: {error}", "SourceMissing") from error


def _downloaded(url: str, folder: Path, tell: Callable[[Progress], None]) -> Path:
    """One file of a web server; a name that says nothing of its kind gets one from its first bytes."""
    folder.mkdir()
    target = folder / "file"
    download(url, target, job=Job(tell, None, lambda size: None))
    name = Path(unquote(urlsplit(url).path)).name
    if not name.endswith(DATA.suffixes):
        with target.open("rb") as file:
            head = file.read(4).lstrip()
        name += {b"PAR1": ".parquet", b"{": ".jsonl", b"[": ".json"}.get(
            head if head == b"PAR1" else head[:1], ".csv"
        )
    return target.rename(folder / name)


def _mounted(address: str) -> str:
    scheme, _, rest = address.partition("://")
    if scheme != "pvc":
        return address
    claims = os.environ.get(CLAIMS)
    if not claims:
        raise DataError(f"{address} can be read on a cluster only; name a file:// address here.")
    root = Path(claims).resolve()
    path = (root / rest).resolve()
    if not path.is_relative_to(root):
        raise DataError(f"{address} leads out of its claim; name a path inside of it.")
    return path.as_uri()


def _plain(path: Path, name: str, scratch: Path) -> tuple[Path, str, str]:
    """An uncompressed file in UTF-8, its kind, and the original's digest where that is another file."""
    digest = ""
    suffix = path.suffix
    if suffix in PACKED:
        digest = sha256_of(path)
        path, suffix = _unpacked(path, name, scratch / digest), Path(path.stem).suffix
    if suffix != ".parquet" and (encoding := _encoding(path)):
        digest = digest or sha256_of(path)
        path = _transcoded(path, name, encoding, scratch / f"{digest}.utf8")
    return path, suffix, digest


def _unpacked(path: Path, name: str, target: Path) -> Path:
    import pyarrow as pa

    most = _MOST_EXPANSION * path.stat().st_size + (64 << 20)
    try:
        with pa.input_stream(str(path), compression="detect") as packed, target.open("wb") as file:
            while block := packed.read(_BLOCK):
                file.write(block)
                if file.tell() > most:
                    raise DataError(
                        f"{name} grows more than {_MOST_EXPANSION} times when unpacked; unpack it."
                    )
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{name} cannot be unpacked ({error}); is it whole?") from error
    return target


def _encoding(path: Path) -> str | None:
    """The encoding of a file that is marked as another one than plain UTF-8, or looks so."""
    with path.open("rb") as file:
        head = file.read(4096)
    for mark, encoding in _BOMS.items():
        if head.startswith(mark):
            return encoding
    # Western text in UTF-16 has a NUL in each second byte.
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(head) >= 16 and head[start::2].count(0) > 0.8 * (len(head) // 2):
            return encoding
    return None


def _transcoded(path: Path, name: str, encoding: str, target: Path) -> Path:
    try:
        with (
            path.open("r", encoding=encoding, newline="") as source,
            target.open("w", encoding="utf-8", newline="") as file,
        ):
            shutil.copyfileobj(source, file, _BLOCK)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is marked as {encoding}, and is not ({error}); write it as UTF-8."
        ) from error
    return target
