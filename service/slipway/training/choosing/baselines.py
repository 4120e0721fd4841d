"""How good models are on one's own data before any training: `python -m slipway.training.choosing.baselines`.

Each is asked the rows of the validation part, with or without examples of the training part before them; the
test part is not touched. What a model has answered is kept, so that a baseline that was stopped goes on.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from pydantic import BaseModel, ConfigDict, Field

from slipway.training.data.versions import DatasetVersion
from slipway.training.errors import EvaluationError, Stopped, TrainingError
from slipway.training.evaluation.asking import Answerer, Asked
from slipway.training.evaluation.examples import Example, examples
from slipway.training.evaluation.intervals import Score, score
from slipway.training.evaluation.metrics import chosen
from slipway.training.evaluation.predicting import MOST_LABELS, instruction, predict, usable
from slipway.training.workspaces import Workspace

STOPPED = 75


class Request(BaseModel):
    """What `slipway models baseline` asks for."""

    model_config = ConfigDict(extra="forbid")

    models: list[str]
    """Folders, sources such as hf://org/name, or `NAME@http://HOST/v1`."""
    data: str
    """A dataset of the workspace: NAME, or NAME/VERSION."""
    workspace: str
    shots: int = Field(default=0, ge=0, le=64)
    """Examples before each question."""
    limit: int = Field(default=100, ge=1)
    """Rows that are asked."""
    max_tokens: int = Field(default=64, ge=1)
    metrics: list[str] = []
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Baseline:
    """What one model reaches."""

    model: str
    scores: dict[str, Score] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Sentences: what could not be told."""
    error: str = ""
    """Why it could not be asked; a sentence."""
    seconds: float = 0.0


@dataclass(slots=True)
class Terminal:
    """Tells a person how far the work is."""

    asked: list[int] = field(default_factory=list)

    def check(self) -> None:
        """Raises Stopped once a signal has asked for it."""
        if self.asked:
            raise Stopped

    def tell(self, message: str, step: int = 0, total: int | None = None) -> None:
        """One line, written over."""
        if sys.stderr.isatty():
            print(f"\r\x1b[K{message} {step}/{total}", end="", file=sys.stderr, flush=True)


def measure(
    answerers: Iterable[Answerer],
    validation: Sequence[Example],
    training: Sequence[Example],
    folder: Path,
    terminal: Terminal,
    request: Request,
) -> list[Baseline]:
    """What each model reaches on rows of the validation part.

    Args:
        answerers: the models.
        validation: the rows that are asked.
        training: rows that examples are taken from.
        folder: where answers are kept.
        terminal: told how far the work is; asked whether to stop.
        request: shots, tokens, metrics, seed.

    Raises:
        EvaluationError: there are no rows, or a metric is not known.
        Stopped: what was answered is kept.
    """
    if not validation:
        raise EvaluationError("The dataset has no validation part; give its split a share.", "DataMissing")
    labels = sorted({each.reference for each in validation if each.reference})
    found = []
    for answerer in answerers:
        began = time.monotonic()
        try:
            asked = Asked.of(answerer, folder, terminal)
            scores, notes = _scores(asked, validation, training, labels, request)
            found.append(Baseline(answerer.name, scores, notes, seconds=time.monotonic() - began))
        except EvaluationError as error:
            found.append(Baseline(answerer.name, error=str(error), seconds=time.monotonic() - began))
        answerer.close()
    return found


def _scores(
    asked: Asked,
    validation: Sequence[Example],
    training: Sequence[Example],
    labels: Sequence[str],
    request: Request,
) -> tuple[dict[str, Score], tuple[str, ...]]:
    rows = [_prompted(each, asked, labels) for each in validation]
    if request.shots and rows[0].task == "generate":
        shots = _shots([_prompted(each, asked, labels) for each in training], request)
        rows = [replace(each, messages=(*shots, *each.messages)) for each in rows]
    task = rows[0].task
    names = request.metrics or (["accuracy", "f1_macro"] if validation[0].task == "classify" else [])
    few = list(labels) if 2 <= len(labels) <= MOST_LABELS else []
    known = usable(asked, chosen(names, task), task, few, named=bool(request.metrics))
    predictions = predict(asked, rows, known.metrics, few, request.max_tokens)
    scores = {each.name: score(each.measure(predictions), seed=request.seed) for each in known.metrics}
    return scores, known.notes


def _prompted(example: Example, asked: Asked, labels: Sequence[str]) -> Example:
    """A row as it is asked: a model that writes is asked for the label."""
    if example.task != "classify" or asked.can("classify"):
        return example
    return replace(example, task="generate", messages=instruction(example.text, labels))


def _shots(training: Sequence[Example], request: Request) -> tuple[tuple[str, str], ...]:
    """Conversations with their answers, drawn from the training part; each answer once before any twice."""
    drawn = random.Random(request.seed).sample(list(training), len(training))  # noqa: S311 - no secret
    first: dict[str, Example] = {}
    for each in drawn:
        first.setdefault(each.reference, each)
    others = [each for each in drawn if first[each.reference] is not each]
    taken = [*first.values(), *others][: request.shots]
    if len(taken) < request.shots:
        raise EvaluationError(f"The training part has {len(taken)} rows; ask for fewer shots.", "DataMissing")
    return tuple(turn for each in taken for turn in (*each.messages, ("assistant", each.reference)))


def opened(models: Sequence[str], task: str) -> list[Answerer]:
    """The models, none of them loaded yet.

    Raises:
        EvaluationError: one cannot be found.
    """
    from slipway.sources import SourceError, fetch
    from slipway.training.evaluation.models.folders import Folder
    from slipway.training.evaluation.models.local import LocalModel
    from slipway.training.evaluation.models.served import ServedModel

    found: list[Answerer] = []
    for model in models:
        name, _, url = model.rpartition("@")
        if url.startswith(("http://", "https://")):
            found.append(ServedModel(url, name, os.environ.get("SLIPWAY_API_KEY", "")))
            continue
        path = Path(model).expanduser()
        try:
            folder = Folder(fetch(model).path if "://" in model else path)
        except SourceError as error:
            raise EvaluationError(str(error), "NoModel") from None
        # An encoder that has learned no labels yet cannot be asked for them; one that has is asked so.
        kind = task if task in ("classify", "tag") and _has_head(folder.path) else "generate"
        found.append(LocalModel(folder, kind, model.rstrip("/").rpartition("/")[2]))  # type: ignore[arg-type]
    return found


def _has_head(folder: Path) -> bool:
    config = json.loads((folder / "config.json").read_bytes())
    return any("Classification" in each for each in config.get("architectures") or ())


def main(arguments: Sequence[str]) -> int:
    """Measure what a Request as JSON asks for, and print the baselines as JSON; the exit code."""
    request = Request.model_validate_json(arguments[0])
    terminal = Terminal()

    def stop(number: int, frame: FrameType | None) -> None:
        terminal.asked.append(number)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stop)
    workspace = Workspace(Path(request.workspace))
    try:
        version = DatasetVersion.open(workspace, request.data)
        validation = list(examples(version.rows("validation")))
        random.Random(request.seed).shuffle(validation)  # noqa: S311 - no secret
        training = list(examples(version.rows("train"))) if request.shots else []
        task = validation[0].task if validation else "generate"
        answers = workspace.root / "baselines" / version.manifest.version
        models = opened(request.models, task)
        found = measure(models, validation[: request.limit], training, answers, terminal, request)
    except Stopped:
        print("Stopped; what was answered is kept, the same command goes on.", file=sys.stderr)
        return STOPPED
    except TrainingError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr)
    print(json.dumps([_document(each) for each in found]))
    return 0


def _document(found: Baseline) -> dict[str, object]:
    return {
        "model": found.model,
        "scores": {name: each.document() for name, each in found.scores.items()},
        "notes": list(found.notes),
        "error": found.error,
        "seconds": round(found.seconds, 1),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
