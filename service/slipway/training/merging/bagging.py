"""Bagged adapters: several trainings, each on a bootstrap sample of the training part, to be asked together.

A sample draws as many rows as there are, each time among all of them: it holds about 63 % of the rows, some
of them several times (Breiman, Bagging Predictors, 1996). Validation and test part stay as they are, so that
the members are evaluated like any other run.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

from slipway.objects import FineTune
from slipway.training.data.shards import PartShards
from slipway.training.data.versions import MANIFEST, DatasetVersion, Part, digest_of, version_of
from slipway.training.errors import TrainingError
from slipway.training.runs import Outcome, Run
from slipway.training.stages import inputs
from slipway.training.workspaces import Workspace

_ROWS = 1024


def bag(workspace: Workspace, name: str, count: int, seed: int = 0) -> list[Run]:
    """Make the runs `NAME-bag-1` to `NAME-bag-COUNT`, prepared and ready to be trained.

    Args:
        workspace: where.
        name: a run whose data is prepared; if it has searched, its hyperparameters are those found.
        count: of members.
        seed: of the samples, and of each member's training.

    Raises:
        TrainingError: the run is not there, or its data is not prepared.
        DataError: its dataset cannot be read.
    """
    run = Run(workspace.run(name))
    if not (run.folder / "finetune.yaml").exists():
        raise TrainingError(f"There is no run `{name}` in {workspace.runs}.", "NotFound")
    prepared = run.outcome("prepare")
    if prepared is None or prepared.state != "Succeeded":
        raise TrainingError(f"The data of `{name}` is not prepared; run its stage `prepare`.", "StageMissing")
    dataset = DatasetVersion.open(workspace, prepared.result["dataset"])
    members = []
    for at in range(1, count + 1):
        sample = bootstrap(workspace, dataset, seed + at)
        member = Run(workspace.run(f"{name}-bag-{at}"))
        fine_tune = _member(run, member.name, seed + at)
        member.begin(fine_tune)
        result = prepared.result | {"dataset": sample.reference}
        member.end(
            Outcome(
                stage="prepare",
                state="Succeeded",
                message=f"A bootstrap sample of {dataset.reference}.",
                inputs=inputs(member, fine_tune, "prepare"),
                result=result,
            )
        )
        members.append(member)
    return members


def bootstrap(workspace: Workspace, dataset: DatasetVersion, seed: int) -> DatasetVersion:
    """A version of the dataset whose training part is drawn from its own, with replacement.

    Args:
        workspace: where it is put.
        dataset: what is drawn from.
        seed: the same one makes the same version.
    """
    counts = _counts(dataset.count("train"), seed)
    with workspace.unfinished() as folder:
        shards = PartShards(folder, "train", None)
        for table in _drawn(dataset, counts):
            shards.add(table)
        parts = dataset.manifest.parts | {"train": shards.close()}
        others: tuple[Part, ...] = ("validation", "test")
        for path in (path for part in others for path in dataset.files(part)):
            _taken(path, folder / path.name)
        digest = digest_of(parts)
        manifest = dataset.manifest.model_copy(
            update={
                "digest": digest,
                "version": version_of(digest),
                "parts": parts,
                "dropped_files": [],
                "statistics": {"bootstrap": {"of": dataset.reference, "seed": seed}},
            }
        )
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1))
        place = workspace.datasets / manifest.name / manifest.version
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(place)
    return DatasetVersion.read(place)


def _member(run: Run, name: str, seed: int) -> FineTune:
    """The FineTune of a member: without a search, as what it would find is found already."""
    fine_tune = run.fine_tune()
    document = fine_tune.model_dump(mode="json", by_alias=True, exclude_unset=True)
    document |= {"apiVersion": fine_tune.api_version, "kind": fine_tune.kind}
    document["metadata"]["name"] = name
    spec = document["spec"]
    found = run.outcome("search") if spec.pop("search", None) else None
    spec["hyperparameters"] = spec.get("hyperparameters", {}) | (
        found.result["hyperparameters"] if found else {}
    )
    spec["hyperparameters"]["seed"] = seed
    spec.pop("deploy", None)
    return FineTune.model_validate(document)


def _counts(rows: int, seed: int) -> list[int]:
    """How often each row is drawn."""
    import numpy as np

    drawn = np.random.default_rng(seed).integers(rows, size=rows)
    counts: list[int] = np.bincount(drawn, minlength=rows).tolist()
    return counts


def _drawn(dataset: DatasetVersion, counts: list[int]) -> Iterator[object]:
    """The rows that were drawn, as often as they were; streamed."""
    import numpy as np
    import pyarrow.parquet as pq

    at = 0
    for path in dataset.files("train"):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS):
                times = counts[at : at + batch.num_rows]
                at += batch.num_rows
                rows = np.repeat(np.arange(batch.num_rows), times)
                if len(rows):
                    import pyarrow as pa

                    yield pa.Table.from_batches([batch]).take(pa.array(rows))


def _taken(path: Path, target: Path) -> None:
    """The same file once more: linked where the file system can."""
    try:
        os.link(path, target)
    except OSError:
        copyfile(path, target)
