"""From the sources of a dataset to one of its versions.

1. Files are cut into pieces; what was asked for before is there already.
2. Each piece is read and cleaned alone, on all cores (`chunkwork`).
3. Keys and signatures of all records decide who is in which part (`decisions`).
4. Records are written to the shards of their parts, and the version is put in its place by one rename.

Memory holds a few pieces and some 150 bytes for each record, whatever their length. A preparation that was
stopped goes on with the pieces that it has not done.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from slipway.objects.datasets import DatasetSpec
from slipway.training.augmentation import read
from slipway.training.data import executors, lineage
from slipway.training.data.cleaning import clean
from slipway.training.data.executors import Executor
from slipway.training.data.sources import Found, find
from slipway.training.data.steps import chosen
from slipway.training.data.versions import DatasetVersion, Manifest, version_of, versions
from slipway.training.data.watching import Watch
from slipway.training.data.writing import write
from slipway.training.errors import DataError, Stopped
from slipway.training.workspaces import Workspace

_SMALL = 8 << 20
"""Bytes of sources for which other processes are not worth their start."""


def prepare(name: str, spec: DatasetSpec, watch: Watch, executor: Executor | None = None) -> DatasetVersion:
    """Prepare a version of the dataset `name`, or find the one that is there.

    Args:
        executor: who does the work; this machine's cores if None.

    Raises:
        DataError: the data, its place or what is asked of it; the message says how to mend it.
        Stopped: asked to; called again it goes on.
    """
    steps = chosen(spec.format, spec.preparation)
    for step in spec.augmentation:
        read(step)  # What is unknown is told before the work, not after it.
    with watch.workspace.unfinished() as scratch:
        found = _found(spec, scratch, watch)
        asked = lineage.inputs(spec, found, steps)
        for version in versions(watch.workspace, name):
            if version.manifest.inputs == asked:
                _require(spec, version.manifest.version, name)
                return version
        if executor is None:
            executor = _local(sum(each.size for each in found))
        shared = watch.workspace.root / "tmp" / f"prepare-{asked[-32:]}"
        with _kept_when_stopped(shared, scratch / "work") as folder:
            cleaned = clean(spec, found, steps, folder, executor, watch)
            target = scratch / "version"
            target.mkdir()
            manifest = write(name, spec, found, steps, cleaned, asked, target, watch)
            _require(spec, manifest.version, name)
            version = _placed(watch.workspace, target, manifest)
    return version


def _found(spec: DatasetSpec, scratch: Path, watch: Watch) -> list[Found]:
    found = []
    for source in sorted(spec.sources, key=lambda each: each.name):
        watch.check()
        found.append(find(source, spec.format, scratch, watch.tell, watch.check))
    if len({each.source.name for each in found}) < len(found):
        raise DataError("Two sources have the same name; give each its own.")
    return found


def _local(size: int) -> Executor:
    cores = len(os.sched_getaffinity(0))
    return executors.here if size < _SMALL or cores == 1 else executors.processes(cores)


def _require(spec: DatasetSpec, version: str, name: str) -> None:
    if spec.version is not None and spec.version.rpartition("/")[2] != version:
        raise DataError(
            f"The data makes version {version} of {name}, not {spec.version}, which is asked for: the"
            " sources, the steps or Slipway have changed. Bring them back, or take `dataset.version` out.",
            "OtherVersion",
        )


@contextmanager
def _kept_when_stopped(folder: Path, instead: Path) -> Iterator[Path]:
    """A folder that stays when the work in it is stopped or killed, for the next attempt.

    Args:
        instead: is taken where another process works in that folder now.
    """
    descriptor = _held(folder)
    if descriptor is None:
        instead.mkdir()
        yield instead
        return
    try:
        yield folder
    except (Stopped, KeyboardInterrupt):
        raise
    except BaseException:
        rmtree(folder, ignore_errors=True)
        raise
    else:
        rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _held(folder: Path) -> int | None:
    """The descriptor that locks a folder, which is made; None where another process has it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had it before may have removed it meanwhile.
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor
            os.close(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            os.close(descriptor)


def _placed(workspace: Workspace, folder: Path, manifest: Manifest) -> DatasetVersion:
    target = workspace.datasets / manifest.name / version_of(manifest.digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(target)
    except OSError as error:
        # The same records were prepared before, by other steps, or by somebody else meanwhile.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    return DatasetVersion.read(target)
