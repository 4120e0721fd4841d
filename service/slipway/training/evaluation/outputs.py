"""The files of an evaluation."""

import json
from dataclasses import dataclass
from pathlib import Path

from slipway.training.evaluation.reporting import report
from slipway.training.evaluation.results import Evaluation
from slipway.training.runs import write_atomically


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where an evaluation is written."""

    folder: Path

    @property
    def document(self) -> Path:
        """All that was found."""
        return self.folder / "evaluation.json"

    @property
    def predictions(self) -> Path:
        """One line for each example."""
        return self.folder / "predictions.jsonl"

    @property
    def report(self) -> Path:
        """For people."""
        return self.folder / "report.html"

    @property
    def answers(self) -> Path:
        """What models have replied, so that nothing is asked twice."""
        return self.folder / "answers"

    def write(self, found: Evaluation) -> None:
        """Write all of it, the document last: where it is, the others are."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(each.document(), ensure_ascii=False) + "\n" for each in found.predictions]
        # Text of models may hold halves of surrogate pairs.
        text = "".join(lines).encode("utf-8", "replace").decode()
        write_atomically(self.predictions, text)
        write_atomically(self.report, report(found))
        write_atomically(self.document, json.dumps(found.document(), indent=1))
