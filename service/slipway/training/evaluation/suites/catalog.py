"""The suites by name."""

from collections.abc import Sequence
from importlib import import_module

from slipway.training.errors import EvaluationError
from slipway.training.evaluation.suites import Findings, Material

SUITES = ("bias", "toxicity", "privacy", "memorization", "injection")
HARNESS = "lm-eval/"


def check(names: Sequence[str]) -> None:
    """Raises EvaluationError if there is no suite of a name."""
    for name in names:
        if name not in SUITES and not (name.startswith(HARNESS) and name != HARNESS):
            raise EvaluationError(
                f"There is no suite {name}; there are {', '.join(SUITES)} and {HARNESS}TASK.", "UnknownSuite"
            )


def run(name: str, material: Material) -> Findings:
    """Put a model through a suite.

    Raises:
        EvaluationError: the suite does not fit the model, or the model fails.
        Stopped: what came until then is kept.
    """
    package = "slipway.training.evaluation.suites"
    if name.startswith(HARNESS):
        found: Findings = import_module(f"{package}.harness").run(material, name.removeprefix(HARNESS))
    else:
        found = import_module(f"{package}.{name}").run(material)
    return found


def suite_of(metric: str) -> str | None:
    """The suite that a metric's name belongs to; None for a metric of the test part."""
    name = metric.partition(".")[0]
    if name in SUITES or name.startswith(HARNESS):
        return name
    return None
