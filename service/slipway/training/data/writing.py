"""The second half of a preparation: what becomes of each record, and the files of the version."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from slipway.objects.datasets import DatasetSpec, PreparationStep
from slipway.training.data import lineage
from slipway.training.data.chunkwork import KEYS, dropped_schema, table
from slipway.training.data.cleaning import Cleaned
from slipway.training.data.decisions import (
    EXACT,
    LEAK,
    NEAR,
    OPEN,
    THRESHOLD,
    TRAIN,
    WEIGHT,
    Decisions,
    Wanted,
    decide,
)
from slipway.training.data.duplicates import Piece
from slipway.training.data.shards import PartShards, Shards
from slipway.training.data.sources import Found
from slipway.training.data.splits import Shares
from slipway.training.data.steps.choices import DEDUPLICATE, options_of
from slipway.training.data.steps.languages import PREFIX
from slipway.training.data.versions import (
    MANIFEST,
    PARTS,
    Dropped,
    Example,
    Manifest,
    PartManifest,
    SourceManifest,
    digest_of,
    version_of,
)
from slipway.training.data.watching import Watch
from slipway.training.errors import DataError
from slipway.training.records import Record
from slipway.training.runs import write_atomically

_REASONS = {EXACT: "duplicate", NEAR: "near-duplicate", WEIGHT: "weight", LEAK: "leak"}
_EXAMPLES = 5
_EXCERPT = 400
_BATCH = 1024


def write(
    name: str,
    spec: DatasetSpec,
    found: Sequence[Found],
    steps: Sequence[PreparationStep],
    cleaned: Cleaned,
    asked: str,
    folder: Path,
    watch: Watch,
) -> Manifest:
    """Write the files of a version into `folder`, which is empty.

    Args:
        asked: digest of the inputs.

    Raises:
        DataError: nothing is left to train on.
        Stopped: asked to.
    """
    import numpy as np

    watch.tell("comparing all records")
    numbers = {each.source.name: at for at, each in enumerate(found)}
    pieces = list(cleaned.pieces())
    keys = np.concatenate([np.fromfile(path.with_suffix(".keys"), KEYS) for _, path, _ in pieces])
    sources = np.concatenate([np.full(rows, numbers[source], dtype=np.int32) for source, _, rows in pieces])
    signatures = [Piece(path.with_suffix(".signatures"), rows) for _, path, rows in pieces]
    decisions = decide(signatures, keys, sources, _wanted(spec, found, steps))
    watch.check()
    writer = _Writer(spec, cleaned, decisions, keys, folder, watch)
    parts = writer.parts()
    if not parts["train"].rows:
        raise DataError(
            "No record is left for the part `train`; see `slipway data show`, the split and the steps."
        )
    fates = np.bincount(decisions.fate, minlength=LEAK + 1)
    dropped = cleaned.counted("dropped") + Counter(
        {reason: int(fates[fate]) for fate, reason in _REASONS.items()}
    )
    changed = cleaned.counted("changed")
    digest = digest_of(parts)
    kept = np.bincount(sources[decisions.fate < EXACT], minlength=len(found))
    manifest = Manifest(
        name=name,
        version=version_of(digest),
        digest=digest,
        format="chat" if spec.format == "completion" else spec.format,
        inputs=asked,
        code=lineage.code(),
        sources=[_source(each, cleaned, int(kept[numbers[each.source.name]])) for each in found],
        preparation=[step.model_dump(mode="json") for step in steps],
        augmentation=[step.model_dump(mode="json") for step in spec.augmentation],
        split=spec.split.model_dump(mode="json"),
        parts=parts,
        dropped=[
            Dropped(
                reason=reason,
                count=count,
                examples=[Example(**row) for row in (cleaned.examples(reason) or writer.examples(reason))][
                    :_EXAMPLES
                ],
            )
            for reason, count in dropped.most_common()
            if count
        ],
        dropped_files=writer.dropped(),
        changed={what: count for what, count in sorted(changed.items()) if not what.startswith(PREFIX)},
        statistics={
            "languages": {
                what.removeprefix(PREFIX): count
                for what, count in changed.most_common()
                if what.startswith(PREFIX)
            },
            "similar_groups": decisions.similar_groups,
            "largest_group": decisions.largest_group,
            "augmentation_refused": dict(writer.refused),
        },
    )
    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=1))
    return manifest


def _wanted(spec: DatasetSpec, found: Sequence[Found], steps: Sequence[PreparationStep]) -> Wanted:
    options: dict[str, Any] = {}
    for step in steps:
        if step.name == DEDUPLICATE:
            options = options_of(step).model_dump()
    return Wanted(
        duplicates=bool(options),
        near=bool(options.get("near")),
        threshold=options.get("threshold", THRESHOLD),
        shares=Shares(spec.split.validation.number, spec.split.test.number, spec.split.seed),
        weights=tuple(each.source.weight.number for each in found),
        fixed=tuple(PARTS.index(each.source.part) if each.source.part else OPEN for each in found),
    )


def _source(found: Found, cleaned: Cleaned, kept: int) -> SourceManifest:
    return SourceManifest(
        name=found.source.name,
        address=found.source.source,
        resolved=found.resolved,
        digest=found.digest,
        format=found.format,
        weight=str(found.source.weight),
        licence=found.source.licence,
        files=found.files,
        empty_files=list(found.empty),
        bytes=found.size,
        read=cleaned.total("read", found.source.name),
        kept=kept,
    )


class _Writer:
    """Streams the cleaned records into the shards of their parts."""

    def __init__(
        self, spec: DatasetSpec, cleaned: Cleaned, decisions: Decisions, keys: Any, folder: Path, watch: Watch
    ) -> None:
        self._spec = spec
        self._cleaned = cleaned
        self._decisions = decisions
        self._keys = keys
        self._folder = folder
        self._watch = watch
        self._dropped = Shards(folder, "dropped", dropped_schema())
        self._examples: dict[str, list[dict[str, str]]] = {}
        self.refused: Counter[str] = Counter()

    def parts(self) -> dict[Any, PartManifest]:
        """Write all parts."""
        shards = [PartShards(self._folder, part, self._spec.split.stratify_by) for part in PARTS]
        total = len(self._keys)
        for at, records in self._tables():
            fate = self._decisions.fate[at : at + len(records)]
            for number, shard in enumerate(shards):
                if number != TRAIN or not self._spec.augmentation:
                    for chosen, repeated in self._chosen(records, at, number):
                        shard.add(chosen, repeated=repeated)
            self._drop(records, at, fate)
            self._watch.tell("writing records", at + len(records), total)
            self._watch.check()
        if self._spec.augmentation:
            for records in _batches(self._augmented()):
                shards[TRAIN].add(table(records))
        return {part: shard.close() for part, shard in zip(PARTS, shards, strict=True)}

    def examples(self, reason: str) -> list[dict[str, str]]:
        """The first records that were dropped here for a reason."""
        return self._examples.get(reason, [])

    def dropped(self) -> Any:
        """Write what was dropped before; the files."""
        import pyarrow as pa

        for path in self._cleaned.dropped():
            with pa.OSFile(str(path)) as source:
                self._dropped.add(pa.ipc.open_file(source).read_all().select(dropped_schema().names))
        return self._dropped.close()

    def _tables(self) -> Iterator[tuple[int, Any]]:
        """Position of its first record, and a table."""
        import pyarrow as pa

        at = 0
        for _, path, rows in self._cleaned.pieces():
            with pa.OSFile(str(path.with_suffix(".arrow"))) as source:
                yield at, pa.ipc.open_file(source).read_all()
            at += rows

    def _chosen(self, records: Any, at: int, part: int) -> Iterator[tuple[Any, bool]]:
        """The records of a table that are in a part; those that are taken again, again."""
        import pyarrow as pa

        inside = self._decisions.fate[at : at + len(records)] == part
        copies = self._decisions.copies[at : at + len(records)]
        for copy in range(int(copies[inside].max()) if inside.any() else 0):
            yield records.filter(pa.array(inside & (copies > copy))), copy > 0

    def _drop(self, records: Any, at: int, fate: Any) -> None:
        import numpy as np
        import pyarrow as pa

        gone = np.flatnonzero((fate >= EXACT) & (fate != WEIGHT))
        if not len(gone):
            return
        rows = []
        for row, position in zip(records.take(pa.array(gone)).to_pylist(), gone.tolist(), strict=True):
            kept = self._keys[self._decisions.kept[at + position]]
            reason = _REASONS[int(fate[position])]
            detail = f"The record {kept['high']:016x}{kept['low']:016x} stands for it."
            if reason == "leak":
                detail = "Its source goes to one part, and a record that it is joined with to another."
            shown = _shown(row)
            rows.append(
                {
                    "source": row["source"],
                    "place": row["place"],
                    "reason": reason,
                    "detail": detail,
                    "excerpt": shown,
                }
            )
            examples = self._examples.setdefault(reason, [])
            if len(examples) < _EXAMPLES:
                examples.append({name: value for name, value in rows[-1].items() if name != "reason"})
        self._dropped.add(pa.Table.from_pylist(rows, dropped_schema()))

    def _augmented(self) -> Iterator[Record]:
        from slipway.training.augmentation import augment

        return augment(
            self._train(), self._spec.augmentation, self._spec.split.seed, self._watch, refused=self.refused
        )

    def _train(self) -> Iterator[Record]:
        for at, records in self._tables():
            for chosen, _ in self._chosen(records, at, TRAIN):
                for row in chosen.to_pylist():
                    yield cast("Record", {**row, "slices": dict(row["slices"])})


def _shown(row: dict[str, Any]) -> str:
    from slipway.training.data.identities import text_of

    return text_of(row)[:_EXCERPT]  # type: ignore[arg-type]


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch = []
    for record in records:
        batch.append(record)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
