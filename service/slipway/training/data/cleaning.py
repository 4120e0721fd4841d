"""The first half of a preparation: every piece of every source read, cleaned and counted."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.objects.datasets import DatasetSpec, DataSource, PreparationStep
from slipway.training.data.chunks import Chunk
from slipway.training.data.chunkwork import Task, process
from slipway.training.data.executors import Executor
from slipway.training.data.fingerprints import template_of
from slipway.training.data.formats import InvalidError, to_record
from slipway.training.data.identities import text_of
from slipway.training.data.reading import Broken, Row, rows
from slipway.training.data.sources import Found, find
from slipway.training.data.steps.contamination import known_runs, texts_of
from slipway.training.data.watching import Watch
from slipway.training.errors import DataError

_SAMPLE = 2000
"""Records of a source that are looked at for what a template brings."""
_SHOWN = 3
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What came of it: files in a folder, and the counts of each task in order."""

    folder: Path
    results: tuple[dict[str, Any], ...]

    def total(self, name: str, source: str | None = None) -> int:
        """A count over all tasks, or those of a source."""
        return sum(each[name] for each in self.results if source in (None, each["source"]))

    def counted(self, name: str) -> Counter[str]:
        """Counts by what was done, over all tasks."""
        total: Counter[str] = Counter()
        for each in self.results:
            total.update(each[name])
        return total

    def examples(self, reason: str) -> list[dict[str, str]]:
        """The first records that a reason cost."""
        return [row for each in self.results for row in each["examples"].get(reason, ())]

    def pieces(self) -> Iterator[tuple[str, Path, int]]:
        """Source, path without its end, and rows of each file with records."""
        for each in self.results:
            for at, count in enumerate(each["pieces"]):
                yield each["source"], self.folder / f"{each['number']:05d}-{at}", count

    def dropped(self) -> Iterator[Path]:
        """The files with what was dropped."""
        paths = (self.folder / f"{each['number']:05d}.dropped" for each in self.results)
        return (path for path in paths if path.exists())


def clean(
    spec: DatasetSpec,
    found: Sequence[Found],
    steps: Sequence[PreparationStep],
    folder: Path,
    executor: Executor,
    watch: Watch,
) -> Cleaned:
    """Read and clean all pieces; what `folder` holds of an earlier attempt is not done again.

    Raises:
        DataError: too much of a source is broken, or nothing is left of all of them.
        Stopped: asked to.
    """
    ready = [_with_known_runs(step, folder, watch) for step in steps]
    _save_template(found, folder)
    tasks = list(_tasks(spec, found, ready, folder))
    sizes = {task.number: task.chunk.size for task in tasks}
    total, done, results = sum(sizes.values()), 0, []
    for result in executor(process, tasks):
        results.append(result)
        done += sizes[result["number"]]
        watch.tell("cleaning records (MB)", round(done / _MB), max(1, round(total / _MB)))
        watch.check()
    cleaned = Cleaned(folder, tuple(sorted(results, key=lambda each: int(each["number"]))))
    for each in found:
        _refuse_broken(spec, each.source.name, cleaned)
    if not any(True for _ in cleaned.pieces()):
        reasons = ", ".join(
            f"{reason}: {count}" for reason, count in cleaned.counted("dropped").most_common()
        )
        raise DataError(
            f"No record is left ({reasons or 'the sources are empty'}); see `fields` and the steps."
        )
    return cleaned


def _tasks(
    spec: DatasetSpec, found: Sequence[Found], steps: Sequence[PreparationStep], folder: Path
) -> Iterator[Task]:
    given = tuple((step.name, json.dumps(step.options, sort_keys=True)) for step in steps)
    number = 0
    for each in found:
        for chunk in each.chunks:
            yield Task(
                number=number,
                source=each.source.name,
                format=each.format,
                fields=tuple(each.source.fields.items()),
                chunk=chunk,
                steps=given,
                stratify_by=spec.split.stratify_by,
                group_by=spec.split.group_by,
                folder=str(folder),
                template=str(folder / "template.npy"),
            )
            number += 1


def _refuse_broken(spec: DatasetSpec, source: str, cleaned: Cleaned) -> None:
    read, invalid = cleaned.total("read", source), cleaned.total("invalid", source)
    if not read or invalid <= spec.max_broken.number * read:
        return
    shown = [
        f"{example['place']}: {example['detail']}"
        for each in cleaned.results
        if each["source"] == source and each["invalid"]
        for examples in each["examples"].values()
        for example in examples
    ]
    raise DataError(
        f"Source {source}: {invalid} of {read} records are broken, more than the share {spec.max_broken} that"
        " `maxBroken` lets pass. " + " ".join(shown[:_SHOWN]),
        "TooManyBroken",
    )


def _save_template(found: Sequence[Found], folder: Path) -> None:
    import numpy as np

    path = folder / "template.npy"
    if path.exists():
        return
    templates = [template_of(_sample(each)) for each in found]
    np.save(folder / "unfinished.npy", np.unique(np.concatenate(templates)))
    (folder / "unfinished.npy").replace(path)


def _sample(found: Found) -> list[str]:
    """Texts from the beginning of each file."""
    firsts = {chunk.name: chunk for chunk in reversed(found.chunks)}
    each = -(-_SAMPLE // max(1, len(firsts)))
    fields = found.source.fields
    texts = []
    for chunk in firsts.values():
        taken = 0
        for row in rows(chunk):
            if isinstance(row, Row):
                try:
                    texts.append(text_of(to_record(row.value, found.format, fields)))
                except InvalidError:
                    continue
                taken += 1
            if taken >= each:
                break
    return texts


def _with_known_runs(step: PreparationStep, folder: Path, watch: Watch) -> PreparationStep:
    """The step with the file of what it looks for, where it is `decontaminate`."""
    if step.name != "decontaminate":
        return step
    import numpy as np

    path = folder / "known.npz"
    size = int(step.options.get("words", 13))
    if not path.exists():
        found = known_runs(_texts(step.options["against"], folder, watch), size)
        np.savez(folder / "unfinished.npz", **found)
        (folder / "unfinished.npz").replace(path)
    return PreparationStep(name=step.name, options={**step.options, "known": str(path)})


def _texts(addresses: Sequence[str], folder: Path, watch: Watch) -> Iterator[str]:
    for number, address in enumerate(addresses):
        source = DataSource(name=f"evaluation-{number}", source=address)
        found = find(source, "text", folder, watch.tell, watch.check)
        for row in _all_rows(found.chunks, watch.check):
            if not isinstance(row, Broken):
                yield from texts_of(row.value)


def _all_rows(chunks: Sequence[Chunk], check: Callable[[], None]) -> Iterator[Row | Broken]:
    for chunk in chunks:
        check()
        yield from rows(chunk)
