"""Carries out one `slipway eval`: `python -m slipway.training.evaluation REQUEST`, a Request as JSON.

Exit codes: 0 done, 1 failed or a gate does not hold, 75 stopped: begun again it goes on where it was.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import isnan
from pathlib import Path
from statistics import mean, stdev
from types import FrameType

from slipway.sources import SourceError, fetch
from slipway.training.data.versions import DatasetVersion
from slipway.training.errors import EvaluationError, Stopped, TrainingError
from slipway.training.evaluation import examples, peeks
from slipway.training.evaluation.asking import Answerer, Asked
from slipway.training.evaluation.evaluating import Plan, Sides, evaluate, limited
from slipway.training.evaluation.examples import Example, Task
from slipway.training.evaluation.gates import Rival
from slipway.training.evaluation.models.folders import Folder
from slipway.training.evaluation.models.local import LocalModel
from slipway.training.evaluation.models.served import ServedModel
from slipway.training.evaluation.outputs import Outputs
from slipway.training.evaluation.requests import Request
from slipway.training.evaluation.results import Evaluation
from slipway.training.runs import Run
from slipway.training.stages import Context
from slipway.training.workspaces import Workspace

STOPPED = 75
_TRAINING_ROWS = 5000
_KEYS = {"model": "SLIPWAY_API_KEY", "against": "SLIPWAY_AGAINST_KEY", "judge": "SLIPWAY_JUDGE_KEY"}


@dataclass(slots=True)
class Terminal:
    """Tells a person how far the work is, on standard error; asked to stop by a signal."""

    quiet: bool
    asked: list[int] = field(default_factory=list)
    _began: float = 0.0
    _told: float = 0.0

    def listen(self) -> None:
        """Take SIGINT and SIGTERM as a wish to stop; a second one ends it at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.asked.append(number)
            signal.signal(number, signal.SIG_DFL)

        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, stop)

    def check(self) -> None:
        """Raises Stopped if somebody asked for it."""
        if self.asked:
            raise Stopped

    def tell(self, message: str, step: int = 0, total: int | None = None) -> None:
        """One line that is written over on a terminal; elsewhere a line every ten seconds."""
        now = time.monotonic()
        if step == 0:
            self._began = now
        last = total is not None and step >= total
        if self.quiet or (now - self._told < (0.2 if sys.stderr.isatty() else 10) and not last and step):
            return
        self._told = now
        left = (now - self._began) / step * (total - step) if total and step else None
        counted = f" {step}/{total}" if total else ""
        eta = f", {left:.0f} s left" if left else ""
        start, end = ("\r\x1b[K", "\n" if last else "") if sys.stderr.isatty() else ("", "\n")
        print(f"{start}{message}{counted}{eta}", end=end, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Rows:
    """The examples of a test, and the rows beside it."""

    test: list[Example]
    training: list[Example] | None
    named: str
    version: DatasetVersion | None = None


def main(arguments: Sequence[str]) -> int:
    """Carry out the request; the exit code."""
    request = Request.model_validate_json(arguments[0])
    terminal = Terminal(request.quiet)
    terminal.listen()
    try:
        found = run(request, terminal)
    except Stopped:
        print("Stopped; what was answered is kept, the same command goes on.", file=sys.stderr)
        return STOPPED
    except TrainingError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    _show(found, request)
    return 0 if found.passed else 1


def run(request: Request, terminal: Terminal) -> Evaluation:
    """Evaluate, and write the files.

    Raises:
        TrainingError: with a sentence that says the mend.
        Stopped: what was answered is kept.
    """
    if request.folds:
        return _cross_validate(request, terminal)
    rows = _rows(request)
    tasks = {each.task for each in rows.test}
    if len(tasks) > 1:
        raise EvaluationError(
            f"The data mixes the tasks {', '.join(sorted(tasks))}; evaluate each alone.", "BadData"
        )
    task: Task = tasks.pop() if tasks else "generate"
    outputs = Outputs(request.output)
    model = _answerer(request.model, request.name, request.base, task, request.at_once, "model")
    rivals: dict[Rival, Asked] = {}
    if request.against:
        other = _answerer(request.against, request.against_name, "", task, request.at_once, "against")
        rivals["base"] = Asked.of(other, outputs.answers, terminal)
    judge = None
    if (asked := request.spec.judge) is not None:
        served = _answerer(asked.url, asked.model, "", task, request.at_once, "judge")
        judge = Asked.of(served, outputs.answers, terminal)
    reads = 0
    if rows.version is not None and rows.test:
        reads = peeks.look(rows.version.folder, "slipway eval", f"{model.name} {model.identity}")
    plan = Plan(
        request.spec, task, rows.named, request.tasks, request.classifier, request.resamples, request.seed
    )
    found = evaluate(
        plan, Sides(Asked.of(model, outputs.answers, terminal), rivals, judge, rows.training), rows.test
    )
    found.test_reads = reads
    outputs.write(found)
    return found


def _cross_validate(request: Request, terminal: Terminal) -> Evaluation:
    """Train a run's model anew for each fold of its data, and evaluate the answers together."""
    from slipway.training.evaluation.folding import fold
    from slipway.training.tuning.stage import chosen, job_of

    workspace = Workspace.found(request.workspace or None)
    run = Run(workspace.run(request.model))
    if not run.folder.is_dir():
        raise EvaluationError(f"There is no run {request.model} in {workspace.runs}.", "NoRun")
    if request.spec.suites or request.against or request.spec.judge:
        raise EvaluationError(
            "Folds are for metrics alone; give no suite, judge or other model.", "BadRequest"
        )
    fine_tune = run.fine_tune()
    stopping = lambda: bool(terminal.asked)  # noqa: E731 - the same in both contexts
    context = Context(workspace, run, fine_tune, "train", stopping)
    job = job_of(context, chosen(context), "folds")
    job.folder.mkdir(parents=True, exist_ok=True)
    # What is logged on the way is no part of the run's own story.
    aside = Context(workspace, Run(job.folder), fine_tune, "train", stopping)
    task: Task = "text" if fine_tune.spec.dataset.format == "text" else fine_tune.spec.task
    model, rows = fold(aside, job, task, request.folds, request.seed)
    spec = request.spec.model_copy(update={"slices": (*request.spec.slices, "fold")})
    plan = Plan(spec, task, model.name, resamples=request.resamples, seed=request.seed)
    outputs = Outputs(request.output)
    found = evaluate(
        plan, Sides(Asked.of(model, outputs.answers, terminal), {}, None), limited(rows, request.limit)
    )
    found.notes.append(_spread(found))
    outputs.write(found)
    return found


def _spread(found: Evaluation) -> str:
    """Mean and standard deviation over the folds, as a sentence."""
    own = [each.scores for each in found.slices if each.field == "fold"]
    figures = []
    for name in own[0] if own else ():
        values = [scores[name].value for scores in own if not isnan(scores[name].value)]
        if len(values) > 1:
            figures.append(f"{name} {mean(values):.4g} ± {stdev(values):.2g}")
    return f"Mean and standard deviation over the folds: {', '.join(figures)}."


def _rows(request: Request) -> Rows:
    if not request.data:
        return Rows([], None, "no data")
    path = Path(request.data)
    if path.suffix in (".jsonl", ".ndjson", ".json") or path.is_file():
        training = examples.read(Path(request.training)) if request.training else None
        return Rows(limited(examples.read(path), request.limit), training, path.name)
    version = DatasetVersion.open(Workspace.found(request.workspace or None), request.data)
    test = limited(list(examples.examples(version.rows("test"))), request.limit)
    training = list(islice(examples.examples(version.rows("train")), _TRAINING_ROWS))
    return Rows(test, training, f"the test part of {version.reference}", version)


def _answerer(where: str, name: str, base: str, task: Task, at_once: int, role: str) -> Answerer:
    if where.startswith(("http://", "https://")):
        return ServedModel(where, name, os.environ.get(_KEYS[role], ""), at_once)
    folder = Folder(_folder(where), _folder(base) if base else None)
    return LocalModel(folder, task, name or where.rstrip("/").rpartition("/")[2])


def _folder(where: str) -> Path:
    if "://" not in where:
        path = Path(where).expanduser()
        if not path.is_dir():
            raise EvaluationError(
                f"{where} is neither a folder nor an address such as http://HOST/v1.", "NoModel"
            )
        return path
    try:
        return fetch(where).path
    except SourceError as error:
        raise EvaluationError(str(error), "NoModel") from error


def _show(found: Evaluation, request: Request) -> None:
    outputs = Outputs(request.output)
    if request.form == "json":
        print(
            json.dumps(found.document() | {"report": str(outputs.report), "passed": found.passed}, indent=2)
        )
    else:
        rows = [
            (name, f"{score.value:.4g}", _interval(score.low, score.high), _beside(found, name))
            for name, score in found.scores.items()
        ]
        head = ("METRIC", "VALUE", "95 % INTERVAL", f"AGAINST {found.rivals['base']}" if found.rivals else "")
        widths = [max(len(row[at]) for row in (head, *rows)) for at in range(4)]
        for row in (head, *rows):
            print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        print()
    out = sys.stdout if request.form == "table" else sys.stderr
    for note in found.notes:
        print(note, file=out)
    for gate in found.gates:
        print(f"{'passed' if gate.passed else 'FAILED'}: {gate.message}", file=out)
    print(f"Report: {outputs.report}", file=out)


def _interval(low: float, high: float) -> str:
    return "" if low != low else f"{low:.4g} to {high:.4g}"


def _beside(found: Evaluation, name: str) -> str:
    each = found.comparisons.get("base", {}).get(name)
    return f"{each.theirs:.4g} ({each.difference:+.4g}, p = {each.p:.2g})" if each else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
